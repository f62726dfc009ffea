"""A network's heads start from the codebook's definitions."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from tests.unit.test_training_fit import tokenizer_of
from training.definitions import start_from_definitions
from training.finetune import prepare_model


def started(trained, labels):
    model = prepare_model(trained.config, len(labels))
    start_from_definitions(model, labels, tokenizer_of(trained))
    return model


def test_each_head_points_to_the_definition_of_its_label(trained):
    labels = trained.recipe.codebook.labels
    model = started(trained, labels)
    turned = started(trained, labels[::-1])
    assert torch.equal(model.weight, model.query.weight)
    torch.testing.assert_close(model.weight, turned.weight.flip(0))
    likeness = cosine_similarity(model.weight[:, None], model.weight[None], dim=-1)
    assert bool((likeness.fill_diagonal_(0) < 0.99).all())


def test_the_start_does_not_depend_on_chance(trained):
    labels = trained.recipe.codebook.labels
    torch.manual_seed(1)
    model = prepare_model(trained.config, len(labels))
    torch.manual_seed(2)
    start_from_definitions(model, labels, tokenizer_of(trained))
    assert torch.equal(model.weight, started(trained, labels).weight)
