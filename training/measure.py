"""Cross-validation of a whole run: every figure that its card gives, from answers out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from diplophrase.codebook import Codebook
from diplophrase.lexicon import load_lexicon
from training import domain
from training.added import AddedFolds, assign_added
from training.baselines import rule_decisions
from training.calibration import Fitted
from training.config import Recipe, TrainConfig
from training.crossval import OutOfFold, fit_out_of_fold, plan_folds, score_folds
from training.curve import FOLDS, SHARES, plan_curve, score_curve
from training.data import Data, Paths
from training.dataset import label_targets
from training.folds import assign_folds, group_events, read_folds
from training.pool import Progress, fit_all
from training.report import (
    Bools,
    CrossValidated,
    baseline_decisions,
    cross_validation_report,
    decide_out_of_fold,
    list_predictions,
    rank_mistakes,
)
from training.stages import FirstStage

_MISTAKE = ("id", "label", "kind", "score")  # what the bundle keeps of each


@dataclass(frozen=True, slots=True)
class Plan:
    """How a run is cross-validated: `jobs` of its `folds` are trained at a time."""

    paths: Paths
    recipe: Recipe
    config: TrainConfig
    folds: int
    jobs: int
    curve: bool
    first: FirstStage | None  # what all folds start from


@dataclass(frozen=True, slots=True)
class Split:
    """Which fold each seed and each added annotation is measured in."""

    events: Sequence[str]  # [seeds]
    seeds: npt.NDArray[np.int64]  # [seeds]
    added: AddedFolds

    @property
    def measured(self) -> npt.NDArray[np.int64]:
        """Return the rows of the added annotations that are measured."""
        return np.flatnonzero(self.added.folds >= 0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was fitted and measured out of fold."""

    fitted: Fitted
    metrics: dict[str, Any]
    predictions: list[dict[str, Any]]  # one a seed, as `predictions.jsonl` has them


def split_data(data: Data, paths: Paths, *, folds: int, seed: int) -> Split:
    """Deal events to folds; an event and all near-duplicates of its sentences stay in one.

    Sentences keep the fold that they have in the current version.
    """
    targets = label_targets(data.seeds, data.codebook.ids)
    ours = [label not in data.codebook.own for label in data.codebook.ids]
    events = group_events(data.seeds, paths.sources)
    kept = read_folds(paths.models, data.seeds, folds=folds, seed=seed)
    assigned = assign_folds(events, targets[:, ours], folds=folds, seed=seed, kept=kept)
    return Split(events, assigned, assign_added(data.added, data.seeds, data.authored, assigned))


def cross_validate(plan: Plan, data: Data, progress: Progress) -> tuple[Measured, domain.Measured]:
    """Train once a fold on the other folds and measure on the fold.

    An event and all near-duplicates of its sentences stay in one fold, the one that it has in the
    current version. Fold models are kept, so that a run that was cut off goes on.
    """
    paths, codebook = plan.paths, data.codebook
    split = split_data(data, paths, folds=plan.folds, seed=plan.config.seed)
    lexicon = load_lexicon(paths.lexicon)
    trainings = plan_folds(data, split.seeds, split.added, plan.config, plan.first)
    points = plan_curve(trainings, data.authored, plan.config) if plan.curve else []
    trainings += [training for point in points for training in point.trainings]
    fitted = fit_all(plan.recipe, trainings, paths.runs, jobs=plan.jobs, progress=progress)
    candidates, parts = fitted[: plan.folds], fitted[plan.folds :]
    outs = [score_folds(data.seeds, split.seeds, candidates, codebook.ids, lexicon)]
    if len(rows := split.measured):
        notes, folds = [data.added[int(row)] for row in rows], split.added.folds[rows]
        outs.append(score_folds(notes, folds, candidates, codebook.ids, lexicon))
    rivals: list[dict[str, Bools]] = [{} for _ in outs]
    rivals[0] = baseline_decisions(outs[0], data.authored, codebook, plan.config.seed)
    measured = measure_answers(paths, data, split, outs, rivals, seed=plan.config.seed)
    foreignness = domain.measure(
        [candidate.int8 for candidate in candidates],
        split.seeds,
        [annotation.text for annotation in data.seeds],
        [annotation.text for annotation in data.authored],
        data.foreign,
    )
    if points:
        by_share = [parts[k : k + FOLDS] for k in range(0, len(parts), FOLDS)]
        measured.metrics["learning_curve"] = score_curve(
            [*SHARES, 1.0],
            [*by_share, candidates],
            data.seeds,
            len(data.authored),
            split.seeds,
            codebook.ids,
            lexicon,
        )
    return measured, foreignness


def measure_answers(
    paths: Paths,
    data: Data,
    split: Split,
    outs: Sequence[OutOfFold],
    rivals: Sequence[dict[str, Bools]],
    *,
    seed: int,
) -> Measured:
    """Return all figures of answers out of fold: for the seeds and, second, for the added.

    `rivals` are the decisions [N, L] of others on each of `outs`; the lists are put beside them.
    """
    codebook = data.codebook
    lexicon = load_lexicon(paths.lexicon)
    by_fold, fitted = fit_out_of_fold(outs, codebook)
    reports, decisions = [], []
    for out, others in zip(outs, rivals, strict=True):
        decided = decide_out_of_fold(out, codebook, by_fold)
        texts = [annotation.text for annotation in out.annotations]
        beside = others | rule_decisions(texts, codebook.ids)
        reports.append(cross_validation_report(out, decided, beside, codebook, lexicon, seed))
        decisions.append(decided)
    mistakes = rank_mistakes(outs[0], decisions[0], codebook)
    metrics: dict[str, Any] = {
        "cross_validation": reports[0],
        "reliability": _reliability(decisions[0]),
        "mistakes": {
            "count": len(mistakes),
            "instructive": _lessons(paths, mistakes),
            "all": [{key: row[key] for key in _MISTAKE} for row in mistakes],
        },
        "folds": {
            annotation.id: int(fold)
            for annotation, fold in zip(data.seeds, split.seeds, strict=True)
        },
    }
    if len(reports) > 1:
        metrics["added"] = reports[1]
    predictions = list_predictions(outs[0], decisions[0], codebook, split.events)
    return Measured(fitted, metrics, predictions)


def predict_out_of_fold(
    out: OutOfFold, codebook: Codebook, events: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the answers to the seeds alone as `predictions.jsonl` has them."""
    by_fold, _ = fit_out_of_fold([out], codebook)
    return list_predictions(out, decide_out_of_fold(out, codebook, by_fold), codebook, events)


def _reliability(decided: CrossValidated, bins: int = 10) -> list[dict[str, float]]:
    """Return score against frequency in equal-width bins, all labels pooled."""
    scores, truth = decided.scores[decided.known], decided.targets[decided.known]
    index = np.minimum((scores * bins).astype(int), bins - 1)
    return [
        {
            "from": round(k / bins, 2),
            "decisions": int((index == k).sum()),
            "mean_score": round(float(scores[index == k].mean()), 4),
            "frequency": round(float(truth[index == k].mean()), 4),
        }
        for k in range(bins)
        if (index == k).any()
    ]


def _lessons(paths: Paths, mistakes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mistakes that `mistakes.yaml` explains and that this run still makes."""
    file = paths.training / "mistakes.yaml"
    notes = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else []
    made = {(item["id"], item["label"]): item for item in mistakes}
    return [
        {**made[note["id"], note["label"]], "lesson": note["lesson"]}
        for note in notes or []
        if (note["id"], note["label"]) in made
    ]
