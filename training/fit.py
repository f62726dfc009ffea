"""One candidate: annotations in, two draft bundles (int8 and float32) out."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diplophrase.annotations import SPEAKERS, Annotation
from diplophrase.bundle import (
    SCHEMA_VERSION,
    BundleConfig,
    BundleLabel,
    Calibration,
    Domain,
    save_bundle,
)
from diplophrase.lexicon import LexiconEntry
from diplophrase.tokenizer import open_tokenizer
from training.calibration import PHRASE_WEIGHT, Fitted
from training.config import Recipe, TrainConfig
from training.export import export_onnx, quantize, verify_export
from training.finetune import Step, finetune, seed_everything
from training.model import PhraseModel
from training.stages import FirstStage, learn_first, read_dataset, run_key, start_model

_CALIBRATION_TEXTS = 400
# the modules whose code decides what comes out of a run
_DECIDING = (
    *("config", "model", "definitions", "dataset", "finetune", "stages"),
    *("export", "fuse", "fit"),
)


@dataclass(frozen=True, slots=True)
class Training:
    """What one training learns from, and how; `name` is what its progress is shown under.

    What `first` has is learnt before `annotations`, once for all trainings that have it in common.
    """

    name: str
    annotations: Sequence[Annotation]
    config: TrainConfig
    first: FirstStage | None = None

    @property
    def all(self) -> list[Annotation]:
        """Return the annotations of both stages."""
        return [*self.annotations, *(self.first.annotations if self.first else ())]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Draft bundles on disk, and the gap of the float32 export against torch."""

    int8: Path
    float32: Path
    export_gap: float


def fit_or_reuse(
    recipe: Recipe, training: Training, runs: Path, on_step: Callable[[Step], None]
) -> Candidate:
    """Return the candidate kept below `runs` for this data, config and code, or fit it.

    A run that was cut off goes on where it was; a whole candidate is renamed into place last.
    """
    kept = kept_below(runs, recipe, training)
    if not kept.is_dir():
        runs.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=runs))
        try:
            fit_candidate(recipe, training, scratch, runs, on_step)
            _keep(scratch, kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    manifest = json.loads((kept / "float32" / "manifest.json").read_text(encoding="utf-8"))
    return Candidate(kept / "int8", kept / "float32", manifest["onnx_gap"])


def _keep(scratch: Path, kept: Path) -> None:
    try:
        scratch.rename(kept)
    except OSError:
        if not kept.is_dir():  # another process may have made the same one meanwhile
            raise


def kept_below(runs: Path, recipe: Recipe, training: Training) -> Path:
    """Return where the candidate of `training` is or would be kept."""
    key = run_key(recipe, training.annotations, training.config, _DECIDING)
    if training.first is not None:
        key = hashlib.sha256(f"{key} {training.first.key(recipe)}".encode()).hexdigest()[:16]
    return runs / key


def fit_candidate(
    recipe: Recipe,
    training: Training,
    folder: Path,
    runs: Path,
    on_step: Callable[[Step], None],
) -> Candidate:
    """Fine-tune, export, quantise and verify; write both drafts below `folder`."""
    config = training.config
    model = _learn(recipe, training, runs, on_step)
    tokenizer = open_tokenizer(recipe.base_path, config.max_tokens)
    encodings = tokenizer.encode_batch(_spread(training.all))
    export_onnx(model, folder / "float32.onnx")
    gap = verify_export(model, folder / "float32.onnx", encodings)
    quantize(folder / "float32.onnx", folder / "int8.onnx", encodings)
    drafts = {
        kind: draft_bundle(
            folder,
            recipe,
            folder / f"{kind}.onnx",
            kind,
            config.max_tokens,
            manifest={"onnx_gap": gap},
        )
        for kind in ("int8", "float32")
    }
    for kind in ("int8", "float32"):
        (folder / f"{kind}.onnx").unlink()
    return Candidate(drafts["int8"], drafts["float32"], gap)


def _learn(
    recipe: Recipe, training: Training, runs: Path, on_step: Callable[[Step], None]
) -> PhraseModel:
    max_tokens = training.config.max_tokens
    own = read_dataset(recipe, training.annotations, max_tokens)
    if training.first is None:
        config = training.config.whole()
        model = start_model(recipe, config)
        steps = finetune(model, own, config)
    else:
        config = training.config.second()
        model = learn_first(recipe, training.first, runs, on_step)
        seed_everything(config.seed, config.threads)
        replay = read_dataset(recipe, training.first.annotations, max_tokens)
        steps = finetune(model, own, config, replay=replay)
    for step in steps:
        on_step(step)
    return model


def _spread(annotations: Sequence[Annotation]) -> list[str]:
    """Return texts taken evenly from the whole list: 400 to 799 of them, or all if fewer."""
    stride = max(1, len(annotations) // _CALIBRATION_TEXTS)
    return [annotation.text for annotation in annotations[::stride]]


def draft_bundle(
    models: Path,
    recipe: Recipe,
    network: Path,
    version: str,
    max_tokens: int,
    *,
    fitted: Fitted | None = None,
    domain: Domain | None = None,
    lexicon: Mapping[str, LexiconEntry] | None = None,
    metrics: dict[str, Any] | None = None,
    card: str = "A draft.\n",
    plots: Sequence[Path] = (),
    manifest: dict[str, Any] | None = None,
) -> Path:
    """Write a bundle named `version` below `models`; a draft has no calibration of its own."""
    staged = models / f".staged-{version}"
    staged.mkdir(parents=True)
    try:
        shutil.copyfile(network, staged / "model.onnx")
        shutil.copyfile(recipe.base_path / "tokenizer.json", staged / "tokenizer.json")
        config = bundle_config(recipe, version, max_tokens, fitted, domain, lexicon)
        (staged / "config.json").write_text(
            json.dumps(config.model_dump(mode="json"), ensure_ascii=False, indent=1),
            encoding="utf-8",
        )
        (staged / "metrics.json").write_text(json.dumps(metrics or {}, indent=1), encoding="utf-8")
        (staged / "README.md").write_text(card, encoding="utf-8")
        for plot in plots:
            shutil.copyfile(plot, staged / plot.name)
        return save_bundle(models, staged, manifest or {}).path
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def bundle_config(
    recipe: Recipe,
    version: str,
    max_tokens: int,
    fitted: Fitted | None,
    domain: Domain | None = None,
    lexicon: Mapping[str, LexiconEntry] | None = None,
) -> BundleConfig:
    """Put the codebook's labels, in order, together with calibration, thresholds and lexicon."""
    plain = Calibration(slope=1.0, intercept=0.0)
    labels = tuple(
        BundleLabel(
            id=label.id,
            name=label.name,
            definition=label.definition,
            threshold=float(fitted.thresholds[index]) if fitted else 0.5,
            calibration=fitted.calibrations[index] if fitted else plain,
            operating_points=fitted.points[index] if fitted else (),
        )
        for index, label in enumerate(recipe.codebook.labels)
    )
    return BundleConfig(
        schema_version=SCHEMA_VERSION,
        model_version=version,
        codebook_version=recipe.codebook.version,
        codebook_hash=recipe.codebook.hash,
        labels=labels,
        attributes=recipe.codebook.attributes,
        speakers=SPEAKERS,
        max_tokens=max_tokens,
        domain=domain,
        lexicon=dict(lexicon or {}),
        phrase_weight=PHRASE_WEIGHT if lexicon else 0.0,
        base=recipe.base,
    )
