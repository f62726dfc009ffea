"""`diplophrase train`: from annotations to a published bundle, in one reproducible run."""

from __future__ import annotations

import json
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import Annotation, check_annotations, data_hash
from diplophrase.bundle import PREDICTIONS, Bundle, Domain, load_bundle
from diplophrase.classifier import Classifier
from diplophrase.codebook import load_codebook
from diplophrase.errors import TrainingError
from diplophrase.lexicon import read_entries
from diplophrase.predictions import hash_text
from training.agreement import measure_agreement
from training.base import find_base
from training.baselines import embed as embed_texts
from training.card import render_card
from training.config import Recipe, TrainConfig
from training.data import Data, Paths, read_data
from training.dataset import label_targets
from training.domain import embed, fit_domain
from training.fit import Candidate, Training, draft_bundle
from training.measure import Plan, cross_validate
from training.naming import name_labels
from training.plots import draw_plots
from training.pool import Progress, fit_all
from training.stages import plan_first
from training.unlabelled import mark_unknown

MIN_INT8_AGREEMENT = 0.985  # of label decisions, int8 against float32
_LIBRARIES = ("torch", "transformers", "datasets", "scikit-learn", "onnx", "onnxruntime")


def train(
    paths: Paths,
    config: TrainConfig,
    *,
    folds: int,
    progress: Progress,
    name: str | None = None,
    jobs: int = 1,
    curve: bool = False,
) -> Bundle:
    """Cross-validate, train on everything, calibrate out of fold, publish the bundle.

    With `folds` 0 nothing is measured: scores are uncalibrated, thresholds are 0.5, and the card
    says so. `jobs` folds are trained at a time. Same data, config and machine give the same
    numbers.

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
    texts = [annotation.text for annotation in data.all]
    marked = mark_unknown(
        data.all, data.codebook, lambda: embed_texts(texts, base_path), seed=config.seed
    )
    data = data.mark(marked)
    version = name or f"{started:%Y%m%d}-{digest[:8]}-s{config.seed}"
    if (paths.models / version).exists():
        raise TrainingError(
            f"{paths.models / version} exists; versions are never edited. "
            f"Give the new one a name with --name."
        )
    metrics: dict[str, Any] = {
        "data": describe_data(data, digest),
        "agreement": read_agreement(paths),
    }
    first = plan_first("authored sentences", data.authored, config)
    measured = foreignness = None
    if folds:
        plan = Plan(paths, recipe, config, folds, jobs, curve, first)
        measured, foreignness = cross_validate(plan, data, progress)
        metrics |= measured.metrics
    training = Training("final model", [*data.seeds, *data.added], config, first)
    [candidate] = fit_all(recipe, [training], paths.runs, jobs=1, progress=progress)
    metrics["export"] = _check_quantised(candidate, data.seeds)
    metrics["export"]["onnx_gap"] = candidate.export_gap
    manifest = {
        **describe_run(paths, config.seed, digest, started),
        "config": {**config.to_dict(), "base": base.checkpoint},
    }
    metrics["run"] = manifest
    foreign = None
    if foreignness:
        foreign = _fit_domain(data, candidate, foreignness.own)
        metrics["domain"] = foreignness.figures(foreign.threshold)
    with tempfile.TemporaryDirectory() as scratch:
        enclosed = draw_plots(Path(scratch), metrics)
        if measured:
            enclosed.append(write_predictions(Path(scratch) / PREDICTIONS, measured.predictions))
        network = Path(scratch) / "model.onnx"
        name_labels(candidate.int8 / "model.onnx", network, data.codebook.ids)
        path = draft_bundle(
            paths.models,
            recipe,
            network,
            version,
            config.max_tokens,
            fitted=measured.fitted if measured else None,
            domain=foreign,
            lexicon=read_entries(paths.lexicon) if measured else {},
            metrics=metrics,
            card=render_card(version, data.codebook, metrics),
            plots=enclosed,
            manifest=manifest,
        )
    return load_bundle(path)


def _fit_domain(data: Data, candidate: Candidate, held_out: npt.NDArray[np.float64]) -> Domain:
    """Fit what tells other texts from ours on the embeddings of the network to be served."""
    classifier = Classifier.load(candidate.int8, runners=2)
    own = embed(classifier, [annotation.text for annotation in data.all])
    foreign = embed(classifier, [row.text for row in data.foreign])
    return fit_domain(own, foreign, held_out)


def write_predictions(path: Path, predictions: Sequence[dict[str, Any]]) -> Path:
    """Write what was answered out of fold to `path`; return it."""
    lines = (json.dumps(row, ensure_ascii=False) for row in predictions)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def describe_data(data: Data, digest: str) -> dict[str, Any]:
    """Return the data's hash, and how many sentences and labels of each kind there are."""
    targets = label_targets(data.seeds, data.codebook.ids)
    extra = label_targets(data.extra, data.codebook.ids)
    return {
        "hash": digest,
        "codebook": {"version": data.codebook.version, "hash": data.codebook.hash},
        "seeds": len(data.seeds),
        "authored": len(data.authored),
        "added": len(data.added),
        "added_texts": [hash_text(note.text) for note in data.added],
        "support": {
            label: {"seeds": int(targets[:, k].sum()), "extra": int(extra[:, k].sum())}
            for k, label in enumerate(data.codebook.ids)
        },
    }


def read_agreement(paths: Paths) -> dict[str, Any] | None:
    """Return the agreement of the two labelling passes, if they are there."""
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


def describe_run(paths: Paths, seed: int, digest: str, started: datetime) -> dict[str, Any]:
    """Return the facts of a run that its bundle's manifest keeps."""
    return {
        "created": started.isoformat(timespec="seconds"),
        "data_hash": digest,
        "git_commit": _git_commit(paths.training),
        "seed": seed,
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
