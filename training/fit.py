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

from tokenizers import Tokenizer

from diplophrase.annotations import SPEAKERS, Annotation, data_hash
from diplophrase.bundle import (
    SCHEMA_VERSION,
    Base,
    BundleConfig,
    BundleLabel,
    Calibration,
    Domain,
    save_bundle,
)
from diplophrase.codebook import Codebook
from diplophrase.lexicon import LexiconEntry
from training.calibration import PHRASE_WEIGHT, Fitted
from training.dataset import build_dataset
from training.definitions import start_from_definitions
from training.export import export_onnx, quantize, verify_export
from training.finetune import Step, TrainConfig, finetune, prepare_model

_CALIBRATION_TEXTS = 400
# the modules whose code decides what comes out of a run
_DECIDING = ("model", "definitions", "dataset", "finetune", "export", "fuse", "fit")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What stays the same from fold to fold: codebook, and checkpoint."""

    codebook: Codebook
    base: Base
    base_path: Path


@dataclass(frozen=True, slots=True)
class Candidate:
    """Draft bundles on disk, and the gap of the float32 export against torch."""

    int8: Path
    float32: Path
    export_gap: float


def fit_or_reuse(
    recipe: Recipe,
    annotations: Sequence[Annotation],
    config: TrainConfig,
    runs: Path,
    on_step: Callable[[Step], None],
) -> Candidate:
    """Return the candidate kept below `runs` for this data, config and code, or fit it.

    A run that was cut off goes on where it was; a whole candidate is renamed into place last.
    """
    kept = runs / _run_key(recipe, annotations, config)
    if not kept.is_dir():
        runs.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=runs))
        try:
            fit_candidate(recipe, annotations, config, scratch, on_step)
            scratch.rename(kept)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    manifest = json.loads((kept / "float32" / "manifest.json").read_text(encoding="utf-8"))
    return Candidate(kept / "int8", kept / "float32", manifest["onnx_gap"])


def _run_key(recipe: Recipe, annotations: Sequence[Annotation], config: TrainConfig) -> str:
    digest = hashlib.sha256()
    for name in _DECIDING:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    facts = {**config.to_dict(), "base": recipe.base.revision, "codebook": recipe.codebook.hash}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(data_hash(annotations).encode())
    return digest.hexdigest()[:16]


def fit_candidate(
    recipe: Recipe,
    annotations: Sequence[Annotation],
    config: TrainConfig,
    folder: Path,
    on_step: Callable[[Step], None],
) -> Candidate:
    """Fine-tune, export, quantise and verify; write both drafts below `folder`."""
    tokenizer = Tokenizer.from_file(str(recipe.base_path / "tokenizer.json"))
    dataset = build_dataset(annotations, recipe.codebook.ids, tokenizer, config.max_tokens)
    model = prepare_model(config, len(recipe.codebook.ids))
    start_from_definitions(model, recipe.codebook.labels, tokenizer)
    for step in finetune(model, dataset, config):
        on_step(step)
    encodings = tokenizer.encode_batch(_spread(annotations))
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
