"""Training in two stages: what is learnt once, what comes after it, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from training_fixtures import LABELS

from diplophrase.classifier import Classifier
from training import finetune as finetune_module
from training.dataset import iterate_batches
from training.finetune import Step, finetune
from training.fit import Training, fit_or_reuse
from training.pool import fit_all
from training.stages import learn_first, plan_first, read_dataset, start_model


def short(trained, **changes):
    """Return a config of two passes and three, the second stage with replay."""
    return replace(trained.config, epochs=2, seed_epochs=3, replay=4, **changes)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_first_stage_is_learnt_once_and_read_back_whole(trained, tmp_path: Path):
    stage = plan_first("before", trained.notes[:9], short(trained))
    steps: list[Step] = []
    learnt = weights(learn_first(trained.recipe, stage, tmp_path, steps.append))
    assert [step.number for step in steps] == [1, 2, 3, 4]
    assert not same(learnt, weights(start_model(trained.recipe, stage.config)))
    assert same(learnt, weights(learn_first(trained.recipe, stage, tmp_path, steps.append)))
    assert len(steps) == 4
    [kept] = tmp_path.iterdir()
    assert "encoder.embeddings.word_embeddings.weight" not in load_file(kept)


def test_what_decides_the_second_stage_does_not_change_the_first(trained):
    notes, config = trained.notes[:9], short(trained)
    key = plan_first("before", notes, config).key(trained.recipe)
    for changes in ({"seed_epochs": 1}, {"replay": 1}, {"seed_rate": 0.1}):
        other = plan_first("other name", notes, replace(config, **changes))
        assert other.key(trained.recipe) == key
    for changes in ({"epochs": 1}, {"seed": 8}, {"head_rate": 0.1}):
        other = plan_first("before", notes, replace(config, **changes))
        assert other.key(trained.recipe) != key
    assert plan_first("before", notes[1:], config).key(trained.recipe) != key
    assert plan_first("before", [], config) is None


def test_the_second_stage_goes_on_from_the_first_at_its_own_rate(trained):
    config = short(trained, seed_rate=0.25)
    assert config.first().epochs == 2
    second = config.second()
    assert (second.epochs, second.replay) == (3, 4)
    assert second.head_rate == pytest.approx(trained.config.head_rate / 4)
    assert second.encoder_rate == pytest.approx(trained.config.encoder_rate / 4)
    assert config.whole().epochs == 5
    assert config.whole().head_rate == trained.config.head_rate


def test_each_pass_has_all_own_rows_and_some_of_the_others_drawn_anew(trained, monkeypatch):
    config = short(trained).second()
    own, others = (
        read_dataset(trained.recipe, part, 64) for part in (trained.notes[:6], trained.notes[6:])
    )
    passes: list[list[list[int]]] = []

    def watch(rows: Dataset, **options):
        passes.append(rows["input_ids"][:])
        return iterate_batches(rows, **options)

    monkeypatch.setattr(finetune_module, "iterate_batches", watch)
    model = start_model(trained.recipe, config)
    steps = list(finetune(model, own, config, others))
    assert [step.number for step in steps] == list(range(1, 7))  # 6 and 4 rows in batches of 8
    assert {step.total for step in steps} == {6}
    drawn = []
    for rows in passes:
        assert rows[:6] == own["input_ids"][:]
        assert all(row in others["input_ids"][:] for row in rows[6:])
        drawn.append(rows[6:])
    assert [len(rows) for rows in drawn] == [4, 4, 4]
    assert drawn[0] != drawn[1]


def test_trainings_share_what_they_learn_first(trained, tmp_path: Path):
    config = short(trained)
    first = plan_first("before", trained.notes[6:], config)
    plan = [
        Training(f"run {seed}", trained.notes[:6], replace(config, seed=seed), first)
        for seed in (3, 4)
    ]
    shown: list[tuple[str, int]] = []

    def show(name: str, step: Step) -> None:
        shown.append((name, step.number))

    candidates = fit_all(trained.recipe, plan, tmp_path, jobs=1, progress=show)
    assert [name for name, _ in shown].count("before") == 4  # 10 sentences, twice, in batches of 8
    assert [name for name, _ in shown].count("run 3") == 6
    networks = {(candidate.int8 / "model.onnx").read_bytes() for candidate in candidates}
    assert len(networks) == 2
    assert len(list(tmp_path.glob("first-*.safetensors"))) == 1
    shown.clear()
    assert fit_all(trained.recipe, plan, tmp_path, jobs=1, progress=show) == candidates
    assert shown == []
    alone = fit_or_reuse(trained.recipe, plan[0], tmp_path / "alone", lambda step: None)
    assert (alone.int8 / "model.onnx").read_bytes() == (
        candidates[0].int8 / "model.onnx"
    ).read_bytes()


def test_what_was_learnt_first_is_not_forgotten(trained, tmp_path: Path):
    """A label that only the first stage has is still given after the second."""
    config = replace(trained.config, epochs=60, seed_epochs=5, replay=6)
    only = LABELS[0]
    own = [note for note in trained.notes if only not in note.labels]
    first = plan_first("before", trained.notes, config)
    training = Training("after", own, config, first)
    candidate = fit_or_reuse(trained.recipe, training, tmp_path, lambda step: None)

    results = Classifier.load(candidate.float32).classify([note.text for note in trained.notes])
    given = [only in {hit.id for hit in result.labels} for result in results]
    assert given == [only in note.labels for note in trained.notes]
