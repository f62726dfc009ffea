"""`diplophrase train`: from annotations to a published bundle, in one reproducible run."""

from __future__ import annotations

import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from diplophrase.annotations import Annotation, check_annotations
from diplophrase.bundle import Bundle, load_bundle
from diplophrase.classifier import Classifier
from diplophrase.codebook import Codebook, load_codebook
from diplophrase.errors import TrainingError
from training import calibration
from training.agreement import measure_agreement
from training.base import find_base
from training.card import render_card
from training.crossval import OutOfFold, Progress, cross_validate
from training.dataset import label_targets
from training.finetune import TrainConfig
from training.fit import Candidate, Recipe, data_hash, draft_bundle, fit_or_reuse
from training.folds import assign_folds, group_events
from training.lexicon import load_lexicon, rule_decisions
from training.naming import name_labels
from training.report import (
    CrossValidated,
    baseline_decisions,
    cross_validation_report,
    decide_out_of_fold,
    rank_mistakes,
)

MIN_INT8_AGREEMENT = 0.985  # of label decisions, int8 against float32
_LIBRARIES = ("torch", "transformers", "datasets", "scikit-learn", "onnx", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a run reads and writes."""

    codebook: Path
    annotations: Path
    sources: Path
    models: Path

    @property
    def runs(self) -> Path:
        return self.models / ".runs"

    @property
    def training(self) -> Path:
        return Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Data:
    """The annotations of a run: seeds, which evaluate, and the rest, which only train."""

    codebook: Codebook
    seeds: Sequence[Annotation]
    extra: Sequence[Annotation]

    @property
    def all(self) -> list[Annotation]:
        return [*self.seeds, *self.extra]


def read_data(paths: Paths) -> Data:
    """Read and check the codebook, the seeds and, where they are there, the other annotations."""
    codebook = load_codebook(paths.codebook)
    seeds = check_annotations(paths.annotations / "seeds.jsonl", codebook)
    extra: list[Annotation] = []
    for name in ("authored.jsonl", "added.jsonl"):
        if (paths.annotations / name).is_file():
            extra += check_annotations(paths.annotations / name, codebook)
    return Data(codebook, seeds, extra)


def train(
    paths: Paths, config: TrainConfig, *, folds: int, progress: Progress, name: str | None = None
) -> Bundle:
    """Cross-validate, train on everything, calibrate out of fold, publish the bundle.

    With `folds` 0 nothing is measured: scores are uncalibrated, thresholds are 0.5, and the card
    says so. Same data, config and machine give the same numbers.

    Raises:
        InvalidData: if an annotation breaks the codebook.
        TrainingError: if the export or the quantised network strays from what was trained.
    """
    started = datetime.now(UTC)
    data = read_data(paths)
    base, base_path = find_base(config.base)
    config = replace(config, base=str(base_path))
    recipe = Recipe(data.codebook, base, base_path)
    digest = data_hash(data.all)
    version = name or f"{started:%Y%m%d}-{digest[:8]}-s{config.seed}"
    if (paths.models / version).exists():
        raise TrainingError(
            f"{paths.models / version} exists; versions are never edited. "
            f"Give the new one a name with --name."
        )
    metrics: dict[str, Any] = {"data": _describe_data(data, digest), "agreement": _agreement(paths)}
    fitted = None
    if folds:
        out, decided = _measure(paths, data, recipe, config, folds, progress, metrics)
        fitted = calibration.fit(out.logits(), label_targets(data.seeds, data.codebook.ids))
        recipe = replace(recipe, evidence_threshold=decided.evidence_threshold)
    candidate = fit_or_reuse(
        recipe, data.all, config, paths.runs, lambda step: progress("final model", step)
    )
    metrics["export"] = _check_quantised(candidate, data.seeds)
    metrics["export"]["onnx_gap"] = candidate.export_gap
    manifest = _manifest(paths, config, base.checkpoint, digest, started)
    metrics["run"] = manifest
    with tempfile.TemporaryDirectory() as scratch:
        network = Path(scratch) / "model.onnx"
        drafted = load_bundle(candidate.int8).config
        name_labels(candidate.int8 / "model.onnx", network, [label.id for label in drafted.labels])
        path = draft_bundle(
            paths.models,
            recipe,
            network,
            version,
            config.max_tokens,
            fitted=fitted,
            metrics=metrics,
            card=render_card(version, data.codebook, metrics),
            manifest=manifest,
        )
    return load_bundle(path)


def _measure(
    paths: Paths,
    data: Data,
    recipe: Recipe,
    config: TrainConfig,
    folds: int,
    progress: Progress,
    metrics: dict[str, Any],
) -> tuple[OutOfFold, CrossValidated]:
    """Cross-validate and add all figures and mistakes to `metrics`."""
    targets = label_targets(data.seeds, data.codebook.ids)
    groups = group_events(data.seeds, paths.sources)
    assigned = assign_folds(groups, targets, folds=folds, seed=config.seed)
    out = cross_validate(recipe, data.seeds, data.extra, assigned, config, paths.runs, progress)
    decided = decide_out_of_fold(out, data.codebook)
    lexicon = load_lexicon(paths.training / "lexicon.yaml")
    rivals = baseline_decisions(out, data.extra, data.codebook, config.seed)
    rivals |= rule_decisions(data.seeds, data.codebook.ids)
    metrics["cross_validation"] = cross_validation_report(
        out, decided, rivals, data.codebook, lexicon, config.seed
    )
    metrics["reliability"] = _reliability(decided)
    mistakes = rank_mistakes(out, decided, data.codebook)
    metrics["mistakes"] = {
        "count": len(mistakes),
        "instructive": _lessons(paths, mistakes),
        "all": [{key: item[key] for key in ("id", "label", "kind", "score")} for item in mistakes],
    }
    metrics["folds"] = {
        annotation.id: int(fold) for annotation, fold in zip(data.seeds, assigned, strict=True)
    }
    return out, decided


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


def _describe_data(data: Data, digest: str) -> dict[str, Any]:
    targets = label_targets(data.seeds, data.codebook.ids)
    extra = label_targets(data.extra, data.codebook.ids)
    return {
        "hash": digest,
        "codebook": {"version": data.codebook.version, "hash": data.codebook.hash},
        "seeds": len(data.seeds),
        "authored": sum(note.provenance == "authored" for note in data.extra),
        "added": sum(note.provenance == "added" for note in data.extra),
        "support": {
            label: {"seeds": int(targets[:, k].sum()), "extra": int(extra[:, k].sum())}
            for k, label in enumerate(data.codebook.ids)
        },
    }


def _agreement(paths: Paths) -> dict[str, Any] | None:
    passes = [paths.annotations / f"pass_{name}.jsonl" for name in "ab"]
    if not all(path.is_file() for path in passes):
        return None
    codebook = load_codebook(paths.codebook)
    one, other = (check_annotations(path, codebook, record=True) for path in passes)
    return measure_agreement(one, other, codebook.ids)


def _check_quantised(candidate: Candidate, seeds: Sequence[Annotation]) -> dict[str, float]:
    """Hold the int8 network's labels against the float32 network's on the seeds."""
    texts = [annotation.text for annotation in seeds]
    given = []
    for path in (candidate.int8, candidate.float32):
        classifier = Classifier.load(path, threads=2)
        given.append(np.stack([raw.logits > 0 for raw in classifier.run(classifier.encode(texts))]))
    agreement = float((given[0] == given[1]).mean())
    if agreement < MIN_INT8_AGREEMENT:
        raise TrainingError(
            f"The int8 network agrees with float32 on {agreement:.4f} of the label decisions; "
            f"{MIN_INT8_AGREEMENT} is the least. Nothing was written."
        )
    return {"int8_label_agreement": round(agreement, 5)}


def _manifest(
    paths: Paths, config: TrainConfig, base: str, digest: str, started: datetime
) -> dict[str, Any]:
    return {
        "created": started.isoformat(timespec="seconds"),
        "data_hash": digest,
        "git_commit": _git_commit(paths.training),
        "seed": config.seed,
        "config": {**config.to_dict(), "base": base},
        "libraries": {name: package_version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
    }


def _git_commit(folder: Path) -> str:
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
