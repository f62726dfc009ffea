"""The first stage of training: the authored sentences, learnt once for all that start from them.

Authored sentences measure nothing, so that a model which has learnt them alone may be the start of
every fold's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from datasets import Dataset
from safetensors.torch import load_file, save

from diplophrase.annotations import Annotation, data_hash
from diplophrase.files import write_whole
from diplophrase.tokenizer import open_tokenizer
from training.config import Recipe, TrainConfig
from training.dataset import build_dataset
from training.definitions import start_from_definitions
from training.finetune import Step, finetune, prepare_model
from training.model import PhraseModel

# the modules whose code decides what comes out of a first stage
_DECIDING = ("model", "definitions", "dataset", "finetune", "stages")


@dataclass(frozen=True, slots=True)
class FirstStage:
    """What is learnt first, and how; `name` is what its progress is shown under."""

    name: str
    annotations: Sequence[Annotation]
    config: TrainConfig

    def key(self, recipe: Recipe) -> str:
        """Return the name that this stage's weights are kept under."""
        return run_key(recipe, self.annotations, self.config, _DECIDING)


def plan_first(
    name: str, annotations: Sequence[Annotation], config: TrainConfig
) -> FirstStage | None:
    """Return the first stage of a training with `config`, or none if there is nothing to learn."""
    return FirstStage(name, annotations, config.first()) if annotations else None


def run_key(
    recipe: Recipe, annotations: Sequence[Annotation], config: TrainConfig, modules: Sequence[str]
) -> str:
    """Return what tells runs apart: data, numbers, checkpoint, code, and the libraries."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    tokenizer = open_tokenizer(recipe.base_path, config.max_tokens).to_str()
    facts = {
        **config.to_dict(),
        "base": recipe.base.revision,
        "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest(),
        "codebook": recipe.codebook.hash,
        "libraries": {name: version(name) for name in ("torch", "transformers", "onnxruntime")},
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(data_hash(annotations).encode())
    return digest.hexdigest()[:16]


def start_model(recipe: Recipe, config: TrainConfig) -> PhraseModel:
    """Seed everything and return the model that has learnt nothing but the definitions."""
    model = prepare_model(config, len(recipe.codebook.ids))
    tokenizer = open_tokenizer(recipe.base_path, config.max_tokens)
    start_from_definitions(model, recipe.codebook.labels, tokenizer)
    return model


def read_dataset(recipe: Recipe, annotations: Sequence[Annotation], max_tokens: int) -> Dataset:
    """Return the annotations as the checkpoint's tokenizer reads them: see `build_dataset`."""
    tokenizer = open_tokenizer(recipe.base_path, max_tokens)
    return build_dataset(annotations, recipe.codebook.ids, tokenizer)


def learn_first(
    recipe: Recipe, stage: FirstStage, runs: Path, on_step: Callable[[Step], None]
) -> PhraseModel:
    """Return the model after its first stage, which is kept below `runs` and not learnt again."""
    model = start_model(recipe, stage.config)
    kept = runs / f"first-{stage.key(recipe)}.safetensors"
    if not kept.is_file():
        dataset = read_dataset(recipe, stage.annotations, stage.config.max_tokens)
        for step in finetune(model, dataset, stage.config):
            on_step(step)
        learnt = {name: value for name, value in model.named_parameters() if value.requires_grad}
        runs.mkdir(parents=True, exist_ok=True)
        write_whole(kept, save({name: value.detach() for name, value in learnt.items()}))
    # word embeddings are not learnt and stay those of the checkpoint
    model.load_state_dict(load_file(kept), strict=False)
    return model
