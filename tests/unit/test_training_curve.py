"""The learning curve: which trainings it takes, and what is measured on them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from training_fixtures import LABELS

from diplophrase.lexicon import LexiconEntry, build_lexicon
from training.curve import FOLDS, SHARES, plan_curve, score_curve
from training.fit import Training
from training.stages import plan_first

KEYWORDS = build_lexicon({label: LexiconEntry(match=(label,)) for label in LABELS})


def test_shares_of_the_authored_sentences_hold_one_another(trained):
    seeds, extra = trained.notes[:6], trained.notes[6:]
    folds = np.array([0, 0, 1, 1, 2, 2])
    whole = [
        Training(
            f"fold {fold + 1} of 3",
            [seeds[int(k)] for k in np.flatnonzero(folds != fold)],
            replace(trained.config, seed=trained.config.seed + fold, threads=1),
            plan_first("authored sentences", extra, trained.config),
        )
        for fold in range(3)
    ]
    points = plan_curve(whole, extra, trained.config)
    assert [point.share for point in points] == list(SHARES)
    known = {note.id for note in extra}
    for fold in range(FOLDS):
        parts = [{note.id for note in point.trainings[fold].all} & known for point in points]
        assert [len(part) for part in parts] == [round(share * len(extra)) for share in SHARES]
        assert all(one <= two for one, two in pairwise(parts))
        held = {seeds[k].id for k in np.flatnonzero(folds == fold)}
        for point in points:
            training = point.trainings[fold]
            assert training.annotations == whole[fold].annotations
            assert not held & {note.id for note in training.all}
            assert not known & {note.id for note in training.annotations}
            assert (training.config.seed, training.config.threads) == (
                trained.config.seed + fold,
                1,
            )


def test_each_point_is_scored_on_the_first_folds(trained):
    folds = np.arange(len(trained.notes)) % 3
    [row] = score_curve(
        [0.5], [[trained.candidate] * FOLDS], trained.notes, 10, folds, list(LABELS), KEYWORDS
    )
    assert row["authored"] == 5
    assert row["micro_f1"] > 0.9  # the candidate knows these sentences by heart
    assert row["labels"] <= len(LABELS)
