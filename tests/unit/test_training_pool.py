"""Trainings side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.fit import Training
from training.pool import fit_all


def plan(trained, *seeds: int) -> list[Training]:
    config = replace(trained.config, epochs=1)
    return [Training(f"run {seed}", trained.notes, replace(config, seed=seed)) for seed in seeds]


@pytest.fixture(scope="module")
def one_by_one(trained, tmp_path_factory) -> list[bytes]:
    runs = tmp_path_factory.mktemp("runs")
    candidates = fit_all(trained.recipe, plan(trained, 3, 4), runs, jobs=1, progress=lambda *_: 0)
    return [(candidate.int8 / "model.onnx").read_bytes() for candidate in candidates]


def test_side_by_side_gives_what_one_by_one_gives(trained, one_by_one, tmp_path: Path):
    shown = []
    candidates = fit_all(
        trained.recipe,
        plan(trained, 3, 4),
        tmp_path,
        jobs=2,
        progress=lambda name, step: shown.append((name, step.number)),
    )
    networks = [(candidate.int8 / "model.onnx").read_bytes() for candidate in candidates]
    assert networks == one_by_one
    assert networks[0] != networks[1]
    assert sorted(shown) == [(name, number) for name in ("run 3", "run 4") for number in (1, 2)]


def test_what_a_training_raises_reaches_the_caller(trained, tmp_path: Path):
    broken = [
        replace(training, config=replace(training.config, base=str(tmp_path / "gone")))
        for training in plan(trained, 3, 4, 5)
    ]
    with pytest.raises(Exception, match="gone"):
        fit_all(trained.recipe, broken, tmp_path / "runs", jobs=2, progress=lambda *_: 0)
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name.startswith(".new-")]
