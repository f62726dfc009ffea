"""The learning curve: how good the model is with a part of the authored sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import Annotation
from diplophrase.classifier import Classifier
from diplophrase.lexicon import Lexicon, add_hits
from training.calibration import PHRASE_WEIGHT
from training.config import TrainConfig
from training.dataset import label_targets
from training.fit import Candidate, Training
from training.metrics import label_table
from training.stages import plan_first

SHARES = (0.0, 0.25, 0.5)  # of the authored sentences; all of them are in the fold models
FOLDS = 2  # folds that each point is measured on
MIN_SUPPORT = 5  # positives in those folds that a label needs to count


@dataclass(frozen=True, slots=True)
class Point:
    """A share of the authored sentences and the trainings, a fold each, that had it."""

    share: float
    trainings: Sequence[Training]


def plan_curve(
    whole: Sequence[Training], authored: Sequence[Annotation], config: TrainConfig
) -> list[Point]:
    """Return the trainings of each point but the last; shares hold one another.

    `whole` are the folds' trainings, which have all authored sentences: the last point.
    """
    order = np.random.default_rng(config.seed).permutation(len(authored))
    points = []
    for share in SHARES:
        part = [authored[int(k)] for k in sorted(order[: round(share * len(authored))])]
        name = f"{share:.0%} of the authored sentences"
        first = plan_first(name, part, config)
        trainings = [
            replace(training, name=f"{name}, {training.name}", first=first)
            for training in whole[:FOLDS]
        ]
        points.append(Point(share, trainings))
    return points


def score_curve(
    shares: Sequence[float],
    candidates: Sequence[Sequence[Candidate]],
    seeds: Sequence[Annotation],
    extra: int,
    folds: npt.NDArray[np.int64],
    labels: Sequence[str],
    lexicon: Lexicon,
) -> list[dict[str, Any]]:
    """Return macro- and micro-F1 on the first folds for each share; the candidates are by fold."""
    held = np.flatnonzero(folds < FOLDS)
    targets = label_targets([seeds[int(k)] for k in held], labels) > 0
    curve = []
    for share, fold_candidates in zip(shares, candidates, strict=True):
        given = np.zeros(targets.shape, dtype=bool)
        for fold, candidate in enumerate(fold_candidates[:FOLDS]):
            rows = folds[held] == fold
            classifier = Classifier.load(candidate.int8, runners=2)
            texts = [seeds[int(k)].text for k in held[rows]]
            raws = classifier.run(classifier.encode(texts))
            logits = np.stack([raw.logits for raw in raws])
            weights = lexicon.weigh(labels, PHRASE_WEIGHT)
            given[rows] = add_hits(logits, lexicon.predict(texts, labels), weights) > 0
        table = label_table(given, targets, labels, min_support=MIN_SUPPORT)
        curve.append(
            {
                "authored": round(share * extra),
                "macro_f1": table["macro"]["f1"],
                "micro_f1": table["micro"]["f1"],
                "labels": table["macro_labels"],
            }
        )
    return curve
