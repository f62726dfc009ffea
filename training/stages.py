"""The first stage of training: the authored sentences, learnt once for all that start from them.

Authored sentences measure nothing, so that a model which has learnt them alone may be the start of
every fold's.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from diplophrase.annotations import Annotation, data_hash
from training.config import Recipe, TrainConfig
from training.dataset import build_dataset
from training.definitions import start_from_definitions
from training.finetune import Step, finetune, prepare_model
from training.model import PhraseModel

# the modules whose code decides what comes out of a first stage
_DECIDING = ("model", "definitions", "dataset", "finetune", "stages")


@dataclass(frozen=True, slots=True)
class Stage:
    """What is learnt first, and how; `name` is what its progress is shown under."""

    name: str
    annotations: Sequence[Annotation]
    config: TrainConfig

    def key(self, recipe: Recipe) -> str:
        """Return the name that this stage's weights are kept under."""
        return run_key(recipe, self.annotations, self.config, _DECIDING)


def plan_first(name: str, annotations: Sequence[Annotation], config: TrainConfig) -> Stage | None:
    """Return the first stage of a training with `config`, or none if there is nothing to learn."""
    return Stage(name, annotations, config.first()) if annotations else None


def run_key(
    recipe: Recipe, annotations: Sequence[Annotation], config: TrainConfig, modules: Sequence[str]
) -> str:
    """Return what tells runs apart: the data, the numbers, the checkpoint, the code."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    facts = {**config.to_dict(), "base": recipe.base.revision, "codebook": recipe.codebook.hash}
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(data_hash(annotations).encode())
    return digest.hexdigest()[:16]


def start_model(recipe: Recipe, config: TrainConfig) -> PhraseModel:
    """Seed everything and return the model that has learnt nothing but the definitions."""
    model = prepare_model(config, len(recipe.codebook.ids))
    start_from_definitions(model, recipe.codebook.labels, open_tokenizer(recipe))
    return model


def open_tokenizer(recipe: Recipe) -> Tokenizer:
    """Return the checkpoint's tokenizer."""
    return Tokenizer.from_file(str(recipe.base_path / "tokenizer.json"))


def learn_first(
    recipe: Recipe, stage: Stage, runs: Path, on_step: Callable[[Step], None]
) -> PhraseModel:
    """Return the model after its first stage, which is kept below `runs` and not learnt again."""
    model = start_model(recipe, stage.config)
    kept = runs / f"first-{stage.key(recipe)}.safetensors"
    if not kept.is_file():
        labels = recipe.codebook.ids
        tokenizer = open_tokenizer(recipe)
        dataset = build_dataset(stage.annotations, labels, tokenizer, stage.config.max_tokens)
        for step in finetune(model, dataset, stage.config):
            on_step(step)
        _save(kept, model)
    # word embeddings are not learnt and stay those of the checkpoint
    model.load_state_dict(load_file(kept), strict=False)
    return model


def _save(path: Path, model: PhraseModel) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    learnt = {name: value for name, value in model.named_parameters() if value.requires_grad}
    scratch = path.with_suffix(f".{os.getpid()}.new")
    try:
        save_file({name: value.detach().contiguous() for name, value in learnt.items()}, scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
