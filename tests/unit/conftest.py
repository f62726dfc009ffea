"""Fixtures of the unit tests; torch is loaded only by the tests that ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from training_fixtures import make_codebook, make_notes, write_base

from diplophrase.annotations import Annotation

if TYPE_CHECKING:
    from training.config import Recipe, TrainConfig
    from training.finetune import Step
    from training.fit import Candidate


@dataclass(frozen=True)
class Trained:
    """A tiny candidate with all that went into it."""

    notes: list[Annotation]
    recipe: Recipe
    config: TrainConfig
    steps: list[Step]
    candidate: Candidate


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with a tiny seeded BERT."""
    return write_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The tiny model after it has learnt sixteen sentences by heart, as two drafts."""
    from training.base import find_base
    from training.config import Recipe, TrainConfig
    from training.fit import Training, fit_candidate

    base, path = find_base(str(tiny_base))
    recipe = Recipe(make_codebook(), base, path)
    config = TrainConfig(
        base=str(path),
        epochs=80,
        seed_epochs=0,
        batch_size=8,
        encoder_rate=3e-3,
        head_rate=2e-2,
        layer_decay=0.9,
        weight_decay=0.01,
        warmup=0.1,
        evidence_weight=1.0,
        speaker_weight=0.5,
        dropout=0.0,
        max_tokens=64,
        bfloat16=False,
        threads=1,
    )
    notes, steps = make_notes(), []
    folder = tmp_path_factory.mktemp("candidate")
    training = Training("tiny", notes, config)
    candidate = fit_candidate(recipe, training, folder, folder, steps.append)
    return Trained(notes, recipe, config, steps, candidate)
