"""Cross-validation of a whole run: every figure that its card gives, from answers out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from diplophrase.lexicon import load_lexicon
from training import calibration, domain
from training.baselines import rule_decisions
from training.calibration import Fitted
from training.crossval import plan_folds, score_folds
from training.curve import FOLDS, SHARES, plan_curve, score_curve
from training.data import Data, Paths
from training.dataset import label_targets
from training.finetune import TrainConfig
from training.fit import Recipe
from training.folds import assign_folds, group_events, read_folds
from training.pool import Progress, fit_all
from training.report import (
    CrossValidated,
    baseline_decisions,
    cross_validation_report,
    decide_out_of_fold,
    list_predictions,
    rank_mistakes,
)

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


@dataclass(frozen=True, slots=True)
class Measured:
    """What was fitted and measured out of fold."""

    fitted: Fitted
    domain: domain.Measured
    metrics: dict[str, Any]
    predictions: list[dict[str, Any]]  # one a seed, as `predictions.jsonl` has them


def cross_validate(plan: Plan, data: Data, progress: Progress) -> Measured:
    """Train once a fold on the other folds and measure on the fold.

    An event and all near-duplicates of its sentences stay in one fold, the one that it has in the
    current version. Fold models are kept, so that a run that was cut off goes on.
    """
    paths, codebook = plan.paths, data.codebook
    targets = label_targets(data.seeds, codebook.ids)
    groups = group_events(data.seeds, paths.sources)
    folds, seed = plan.folds, plan.config.seed
    kept = read_folds(paths.models, data.seeds, folds=folds, seed=seed)
    assigned = assign_folds(groups, targets, folds=folds, seed=seed, kept=kept)
    lexicon = load_lexicon(paths.lexicon)
    points = plan_curve(data.seeds, data.extra, assigned, plan.config) if plan.curve else []
    trainings = plan_folds(data.seeds, data.extra, assigned, plan.config)
    trainings += [training for point in points for training in point.trainings]
    fitted = fit_all(plan.recipe, trainings, paths.runs, jobs=plan.jobs, progress=progress)
    candidates, parts = fitted[: plan.folds], fitted[plan.folds :]
    out = score_folds(data.seeds, assigned, candidates, codebook.ids, lexicon)
    decided = decide_out_of_fold(out, codebook)
    rivals = baseline_decisions(out, data.extra, codebook, plan.config.seed)
    rivals |= rule_decisions([annotation.text for annotation in data.seeds], codebook.ids)
    report = cross_validation_report(out, decided, rivals, codebook, lexicon, plan.config.seed)
    mistakes = rank_mistakes(out, decided, codebook)
    foreignness = domain.measure(
        [candidate.int8 for candidate in candidates],
        assigned,
        [annotation.text for annotation in data.seeds],
        [annotation.text for annotation in data.extra],
        data.foreign,
    )
    metrics = {
        "cross_validation": report,
        "reliability": _reliability(decided),
        "mistakes": {
            "count": len(mistakes),
            "instructive": _lessons(paths, mistakes),
            "all": [{key: row[key] for key in _MISTAKE} for row in mistakes],
        },
        "folds": {
            annotation.id: int(fold) for annotation, fold in zip(data.seeds, assigned, strict=True)
        },
    }
    if points:
        by_share = [parts[k : k + FOLDS] for k in range(0, len(parts), FOLDS)]
        metrics["learning_curve"] = score_curve(
            [*SHARES, 1.0],
            [*by_share, candidates],
            data.seeds,
            len(data.extra),
            assigned,
            codebook.ids,
            lexicon,
        )
    fitted_all = calibration.fit(out.logits(), targets)
    return Measured(fitted_all, foreignness, metrics, list_predictions(out, decided, codebook))


def _reliability(decided: CrossValidated, bins: int = 10) -> list[dict[str, float]]:
    """Return score against frequency in equal-width bins, all labels pooled."""
    scores, truth = decided.scores.ravel(), decided.targets.ravel()
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
