"""The network: label-wise attention on a tiny seeded encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from training.finetune import seed_everything
from training.model import PhraseModel, SharedDropout, load_model

IDS = torch.tensor([[2, 9, 10, 11, 3], [2, 12, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture
def model(tiny_base: Path) -> PhraseModel:
    seed_everything(5, threads=1)
    model = load_model(tiny_base, 3).eval()
    nn.init.normal_(model.query.weight)  # strong enough that attention is not even
    nn.init.normal_(model.speaker_query.weight)
    return model


@torch.inference_mode()
def states_of(model: PhraseModel, row: int) -> torch.Tensor:
    """Return the encoder's vectors [T, H] of one text of the batch, without padding."""
    length = int(MASK[row].sum())
    ids = IDS[row : row + 1, :length]
    return model.encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]


@torch.inference_mode()
def test_each_label_reads_the_text_through_its_own_attention(model: PhraseModel):
    output = model(IDS, MASK)
    for row in range(2):
        states = states_of(model, row)
        for label in range(3):
            token_scores = states @ model.query.weight[label] + model.query.bias[label]
            read = torch.softmax(token_scores, 0) @ states
            logit = read @ model.weight[label] + model.bias[label]
            torch.testing.assert_close(output.logits[row, label], logit, atol=1e-5, rtol=0)
            found = output.attention[row, label, : len(states)]
            torch.testing.assert_close(found, token_scores, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_both_ends_of_the_evidence_have_scores_of_their_own(model: PhraseModel):
    evidence = model(IDS, MASK).evidence
    for row in range(2):
        states = states_of(model, row)
        ends = states @ model.span.weight.T + model.span.bias  # [T, 2 L]
        for end in range(2):
            for label in range(3):
                found = evidence[row, end, label, : len(states)]
                torch.testing.assert_close(found, ends[:, 3 * end + label], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_speaker_is_read_by_attentions_of_its_own(model: PhraseModel):
    speaker = model(IDS, MASK).speaker
    for row in range(2):
        states = states_of(model, row)
        attention = torch.softmax(model.speaker_query(states), 0)  # [T, queries]
        values = model.speaker_value(states)
        heard = torch.cat([column @ values for column in attention.T])
        torch.testing.assert_close(speaker[row], model.speaker(heard), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_embedding_is_the_mean_vector_of_length_one(model: PhraseModel):
    embedding = model(IDS, MASK).embedding
    for row in range(2):
        mean = states_of(model, row).mean(0)
        torch.testing.assert_close(embedding[row], mean / mean.norm(), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_outputs_have_the_shapes_they_say(model: PhraseModel):
    shapes = [tuple(value.shape) for value in model(IDS, MASK)]
    assert shapes == [(2, 3), (2, 3, 5), (2, 2, 3, 5), (2, 5), (2, 32)]


@torch.inference_mode()
def test_what_stands_in_the_padding_is_nothing(model: PhraseModel):
    other = IDS.clone()
    other[1, 3:] = 11
    first, second = model(IDS, MASK), model(other, MASK)
    assert not torch.equal(first.evidence[1, ..., 3:], second.evidence[1, ..., 3:])
    for one, two in zip(
        (first.logits, first.evidence[..., :3], first.speaker, first.embedding),
        (second.logits, second.evidence[..., :3], second.speaker, second.embedding),
        strict=True,
    ):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


@torch.inference_mode()
def test_a_text_scores_alone_as_beside_a_longer_one(model: PhraseModel):
    both, alone = model(IDS, MASK), model(IDS[1:, :3], MASK[1:, :3])
    torch.testing.assert_close(both.logits[1:], alone.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(both.speaker[1:], alone.speaker, atol=1e-5, rtol=0)


def test_a_fresh_head_expects_labels_to_be_rare(tiny_base: Path):
    model = load_model(tiny_base, 4)
    assert model.bias.tolist() == [-2.0] * 4
    assert model.query.bias.tolist() == [-2.0] * 4
    assert tuple(model.weight.shape) == (4, 32)
    assert model.speaker[-1].out_features == 5


def test_the_encoder_drops_whole_units_and_has_no_pooler(tiny_base: Path):
    model = load_model(tiny_base, 3, dropout=0.25)
    rates = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    shared = [layer.rate for layer in model.encoder.modules() if isinstance(layer, SharedDropout)]
    assert set(rates) == {0.0}  # attention
    assert shared == [0.1] * 5  # embeddings, and twice in each of two layers
    assert model.dropout.rate == 0.25
    assert model.encoder.pooler is None


def test_dropout_has_one_mask_for_all_tokens_of_a_text():
    torch.manual_seed(0)
    dropout = SharedDropout(0.25).train()
    dropped = dropout(torch.ones(3, 7, 400))
    assert sorted(set(dropped.flatten().tolist())) == [0.0, pytest.approx(1 / 0.75)]
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 7, -1))
    assert not torch.equal(dropped[0], dropped[1])
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("rate", "training", "shape"),
    [(0.5, False, (2, 3, 8)), (0.0, True, (2, 3, 8)), (0.5, True, (2, 8))],
)
def test_dropout_leaves_states_alone_where_it_does_not_apply(rate, training, shape):
    states = torch.rand(shape)
    assert torch.equal(SharedDropout(rate).train(training)(states), states)
