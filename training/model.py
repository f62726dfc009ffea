"""The network: a transformer encoder with one attention query per label.

Each label reads the sentence through its own attention over the token vectors, so a clause that
earns one label is not averaged away by the rest of a long sentence; the attention is
trained on the hand-marked evidence spans (label-wise attention
after Mullenbach et al. 2018, "Explainable Prediction of Medical Codes from Clinical Text").
Where that run of words begins and ends is read by two scores per token and label, as in
extractive question answering (Devlin et al. 2019).
Who speaks shows in several places of a sentence (a name, a title, whose wishes are told), so the
speaker is read through several attentions at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

from diplophrase.annotations import SPEAKERS

_SPEAKER_QUERIES = 8
_SPEAKER_VALUES = 32  # what one of them takes from a sentence
_SPEAKER_UNITS = 64


class ModelOutput(NamedTuple):
    """B texts, T tokens, L labels, S speakers, H hidden units."""

    logits: Tensor  # [B, L], before the sigmoid
    attention: Tensor  # [B, L, T], a token's log-odds of being evidence for the label
    evidence: Tensor  # [B, 2, L, T], how much a token looks like the evidence's first, its last
    speaker: Tensor  # [B, S], before the softmax
    embedding: Tensor  # [B, H], mean of the token vectors, length 1


class SharedDropout(nn.Module):
    """Dropout with one mask for all tokens of a text (Gal & Ghahramani 2016).

    Cheaper than a mask for each token, whose random numbers took a fifth of a training step.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, states: Tensor) -> Tensor:
        """Drop hidden units of `states` [B, T, H] while training."""
        if not self.training or self.rate == 0 or states.dim() != 3:
            return states
        shape = (states.shape[0], 1, states.shape[2])
        kept = torch.rand(shape, device=states.device) >= self.rate
        return states * kept / (1.0 - self.rate)


class PhraseModel(nn.Module):
    """Encoder, label-wise attention head and speaker head."""

    def __init__(self, encoder: PreTrainedModel, label_count: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        hidden = encoder.config.hidden_size
        self.encoder = encoder
        self.dropout = SharedDropout(dropout)
        self.query = nn.Linear(hidden, label_count)
        self.weight = nn.Parameter(torch.empty(label_count, hidden))
        self.bias = nn.Parameter(torch.full((label_count,), -2.0))
        self.span = nn.Linear(hidden, 2 * label_count)
        self.speaker_query = nn.Linear(hidden, _SPEAKER_QUERIES)
        self.speaker_value = nn.Linear(hidden, _SPEAKER_VALUES)
        self.speaker = nn.Sequential(
            nn.Linear(_SPEAKER_QUERIES * _SPEAKER_VALUES, _SPEAKER_UNITS),
            nn.GELU(),
            nn.Linear(_SPEAKER_UNITS, len(SPEAKERS)),
        )
        nn.init.normal_(self.query.weight, std=0.02)
        nn.init.constant_(self.query.bias, -2.0)
        nn.init.normal_(self.weight, std=0.02)
        nn.init.normal_(self.span.weight, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> ModelOutput:
        """Score token ids [B, T]; `attention_mask` [B, T] is 1 on tokens and 0 on padding."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(states.dtype)
        mean = (states * kept).sum(1) / kept.sum(1).clamp(min=1.0)
        states = self.dropout(states)
        padding = (1.0 - kept) * -1e4
        token_scores = self.query(states)  # [B, T, L]
        attention = torch.softmax(token_scores + padding, dim=1)
        label_states = attention.transpose(1, 2) @ states  # [B, L, H]
        logits = (label_states * self.weight).sum(-1) + self.bias
        speaker_attention = torch.softmax(self.speaker_query(states) + padding, dim=1)
        values = self.speaker_value(states)
        heard = speaker_attention.transpose(1, 2) @ values  # [B, queries, values]
        speaker = self.speaker(heard.flatten(1))
        embedding = nn.functional.normalize(mean, dim=-1)
        spans = self.span(states).transpose(1, 2).unflatten(1, (2, -1))
        return ModelOutput(logits, token_scores.transpose(1, 2), spans, speaker, embedding)


def load_model(base: str | Path, label_count: int, *, dropout: float = 0.1) -> PhraseModel:
    """Put a fresh head on the encoder in `base`, a local folder or a hub id."""
    encoder = AutoModel.from_pretrained(
        str(base),
        attn_implementation="eager",
        attention_probs_dropout_prob=0.0,  # drawing the mask costs a quarter of a step
    )
    for module in encoder.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout) and child.p > 0:
                setattr(module, name, SharedDropout(child.p))
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None  # it is untrained in sentence-embedding checkpoints
    return PhraseModel(encoder, label_count, dropout=dropout)
