"""Heads alone: what PhraseModel has on its encoder, as one linear map of a token's states.

The weights of an attention add up to one, so that it does not matter whether states are weighted
first and mapped after, as PhraseModel does, or the other way round. Here they are mapped first:
then all heads are one matrix product, and the heads of all folds are trained beside each other in
one pass over the data, each without the texts that it must not see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from diplophrase.annotations import SPEAKERS
from diplophrase.classifier import Raw
from training.definitions import point_at
from training.finetune import Step
from training.states import States

_PADDING = -1e4
_ENDS = 2  # the part of the rows that finds the ends of evidence
_RATE = 1e-2
_WEIGHT_DECAY = 0.01
_WARMUP = 0.1  # share of the steps
_DROPOUT = 0.1
_BATCH = 64
_POOL = 20  # batches whose texts are sorted by length together
_ATTENTION, _EVIDENCE, _SPEAKER = 2.0, 0.3, 0.3  # weights in the loss, as in full training


class HeadOutput(NamedTuple):
    """B texts, K sets of heads, T tokens, L labels, S speakers."""

    logits: Tensor  # [B, K, L]
    attention: Tensor  # [B, K, L, T], a token's log-odds of being evidence for the label
    evidence: Tensor  # [B, K, 2, L, T], how much a token looks like its first, its last
    speaker: Tensor  # [B, K, S]


class Scored(NamedTuple):
    """The same without evidence."""

    logits: Tensor  # [B, K, L]
    attention: Tensor  # [B, K, L, T]
    speaker: Tensor  # [B, K, S]


class Heads(nn.Module):
    """K sets of heads for L labels on states of H units.

    They are those of a whole model but for the speaker's, which here is one attention and a vote.
    The rows of `weight` [K, C, H] are L attentions, L logits, 2 L ends of evidence, the speaker's
    attention and S speakers: C = 4 L + 1 + S.
    """

    def __init__(self, width: int, label_count: int, sets: int = 1) -> None:
        super().__init__()
        self.label_count = label_count
        self.parts = part_sizes(label_count)
        self.weight = nn.Parameter(torch.empty(sets, sum(self.parts), width))
        self.bias = nn.Parameter(torch.zeros(sets, sum(self.parts)))
        nn.init.normal_(self.weight, std=0.02)
        with torch.no_grad():
            self.bias[:, : 2 * label_count] = -2.0

    def forward(self, states: Tensor, mask: Tensor) -> HeadOutput:
        """Score states [B, T, H]; `mask` [B, T] is 1 on tokens and 0 on padding."""
        weight, bias = self._rows(ends=True)
        ends = nn.functional.linear(states, weight.flatten(0, 1), bias.flatten())
        ends = ends.reshape(*states.shape[:2], len(weight), 2, self.label_count)
        scored = self.score(states, mask)
        return HeadOutput(
            scored.logits, scored.attention, ends.permute(0, 2, 3, 4, 1), scored.speaker
        )

    def _rows(self, *, ends: bool) -> tuple[Tensor, Tensor]:
        """Return weights and biases of the rows for the ends of evidence, or of all others."""

        def pick(rows: Tensor) -> Tensor:
            parts = torch.split(rows, self.parts, dim=1)
            return torch.cat([part for k, part in enumerate(parts) if (k == _ENDS) is ends], 1)

        return pick(self.weight), pick(self.bias)

    def score(self, states: Tensor, mask: Tensor) -> Scored:
        """Return all but the ends of evidence, which are half of the rows."""
        weight, bias = self._rows(ends=False)
        mapped = nn.functional.linear(states, weight.flatten(0, 1), bias.flatten())
        mapped = mapped.reshape(*states.shape[:2], *bias.shape).permute(0, 2, 3, 1)
        sizes = [size for place, size in enumerate(self.parts) if place != _ENDS]
        attention, values, look, voices = torch.split(mapped, sizes, dim=2)
        padding = ((1.0 - mask) * _PADDING)[:, None, None]
        logits = (torch.softmax(attention + padding, dim=-1) * values).sum(-1)
        speaker = (torch.softmax(look + padding, dim=-1) * voices).sum(-1)
        return Scored(logits, attention, speaker)

    def find_ends(self, states: Tensor, labels: Tensor) -> Tensor:
        """Return ends [M, K, 2, T] of the label `labels[m]` [M] in the states [M, T, H]."""
        weight, bias = self._rows(ends=True)
        sets, count = len(weight), self.label_count
        # not by index, whose gradient varies by chance
        chosen = nn.functional.one_hot(labels, count).float()
        weight = torch.einsum("ml,kslh->ksmh", chosen, weight.reshape(sets, 2, count, -1))
        bias = torch.einsum("ml,ksl->mks", chosen, bias.reshape(sets, 2, count))
        found: Tensor = torch.einsum("mth,ksmh->mkst", states, weight) + bias.unsqueeze(-1)
        return found

    def one(self, number: int) -> Heads:
        """Return one of the sets alone."""
        alone = Heads(self.weight.shape[2], self.label_count)
        with torch.no_grad():
            alone.weight.copy_(self.weight[number : number + 1])
            alone.bias.copy_(self.bias[number : number + 1])
        return alone


def part_sizes(label_count: int) -> list[int]:
    """Return how many rows each part of the heads has, in their order."""
    return [label_count, label_count, 2 * label_count, 1, len(SPEAKERS)]


def start_at(heads: Heads, meanings: npt.NDArray[np.floating]) -> None:
    """Point each label's attention and logit to the mean states [L, H] of its definition.

    The other rows keep their random start.
    """
    wanted = point_at(torch.from_numpy(meanings).float())
    with torch.no_grad():
        heads.weight[:, : heads.label_count] = wanted
        heads.weight[:, heads.label_count : 2 * heads.label_count] = wanted


@dataclass(frozen=True, slots=True)
class Lesson:
    """What heads learn from: N texts with the hand labels, and which set may see which text.

    Where `many` are more than `at_once`, a pass takes so many of them, drawn anew each time, so
    that its length does not grow with them.
    """

    states: States
    targets: npt.NDArray[np.float32]  # [N, L], negative where it is not known
    spans: Sequence[Sequence[Sequence[int]]]  # [N] of [label, first token, last token]
    speakers: npt.NDArray[np.int64]  # [N]
    seen: npt.NDArray[np.bool_]  # [N, K]
    many: npt.NDArray[np.bool_] | None = None  # [N]
    at_once: int = 0

    def draw(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return the texts of a pass."""
        rows = np.arange(len(self.states))
        if self.many is None or self.many.sum() <= self.at_once:
            return rows
        drawn = generator.choice(rows[self.many], self.at_once, replace=False)
        return np.concatenate([rows[~self.many], drawn])


class _Batch(NamedTuple):
    states: Tensor  # [B, T, H]
    mask: Tensor  # [B, T]
    targets: Tensor  # [B, L]
    known: Tensor  # [B, L]
    evidence: Tensor  # [B, L, T]
    cells: Tensor  # [M, 2], text and label of each span
    ends: Tensor  # [M, 2], its first and last token
    speakers: Tensor  # [B]
    seen: Tensor  # [B, K]


def train_heads(heads: Heads, lesson: Lesson, *, epochs: int, seed: int) -> Iterator[Step]:
    """Train all sets in place, yielding after every step.

    Same heads, lesson and seed give the same weights on the same machine.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    passes = [lesson.draw(generator) for _ in range(epochs)]
    steps = sum(math.ceil(len(texts) / _BATCH) for texts in passes)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=_RATE, weight_decay=_WEIGHT_DECAY)
    heads.train()
    number = 0
    for texts in passes:
        for rows in _shuffle(texts, lesson.states.lengths, generator):
            batch = _gather(lesson, rows)
            kept = (torch.rand(len(rows), 1, batch.states.shape[2]) >= _DROPOUT) / (1.0 - _DROPOUT)
            states = batch.states * kept
            ends = heads.find_ends(states[batch.cells[:, 0]], batch.cells[:, 1])
            loss = _loss(heads.score(states, batch.mask), ends, batch)
            for group in optimizer.param_groups:
                group["lr"] = _RATE * min(
                    (number + 1) / (_WARMUP * steps + 1), (steps - number) / (steps * (1 - _WARMUP))
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            number += 1
            yield Step(number, steps, float(loss.detach()) / len(heads.weight))
    heads.eval()


def _shuffle(
    rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], generator: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield `rows` once in random batches of like length."""
    order = generator.permutation(rows)
    batches: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(order), _BATCH * _POOL):
        pool = order[first : first + _BATCH * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[k : k + _BATCH] for k in range(0, len(pool), _BATCH)]
    for index in generator.permutation(len(batches)):
        yield batches[index]


def _gather(lesson: Lesson, rows: npt.NDArray[np.int64]) -> _Batch:
    states, mask = pad_states(lesson.states, rows)
    targets = torch.from_numpy(lesson.targets[rows])
    evidence = torch.zeros(*targets.shape, states.shape[1])
    spans = [(place, *span) for place, row in enumerate(rows) for span in lesson.spans[row]]
    for place, label, first, last in spans:
        evidence[place, label, first : last + 1] = 1.0
    marked = torch.tensor(spans, dtype=torch.long).reshape(-1, 4)
    return _Batch(
        states,
        mask,
        targets.clamp(min=0.0),
        (targets >= 0).float(),
        evidence,
        marked[:, :2],
        marked[:, 2:],
        torch.from_numpy(lesson.speakers[rows]),
        torch.from_numpy(lesson.seen[rows]).float(),
    )


def pad_states(states: States, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return the states [B, T, H] of some texts, padded with zeros, and their mask [B, T]."""
    lengths = states.lengths[rows]
    padded = torch.zeros(len(rows), int(lengths.max()), states.codes.shape[1])
    mask = torch.zeros(padded.shape[:2])
    for place, row in enumerate(rows):
        padded[place, : lengths[place]] = torch.from_numpy(states.of(int(row)))
        mask[place, : lengths[place]] = 1.0
    return padded, mask


def _loss(output: Scored, ends: Tensor, batch: _Batch) -> Tensor:
    """Return the loss of all sets, per text; texts that a set must not see cost it nothing.

    `ends` [M, K, 2, T] are those of the spans of the batch.
    """
    size = len(batch.targets)
    cells = batch.seen.unsqueeze(2) * batch.known.unsqueeze(1)  # [B, K, L]
    labels = nn.functional.binary_cross_entropy_with_logits(
        output.logits,
        batch.targets.unsqueeze(1).expand_as(output.logits),
        weight=cells,
        reduction="sum",
    )
    share = batch.mask / batch.mask.sum(1, keepdim=True)  # a long text weighs as much as a short
    tokens = nn.functional.softplus(output.attention) @ share[:, None, :, None]
    marked = output.attention * (batch.evidence * share.unsqueeze(1)).unsqueeze(1)
    attention = ((tokens.squeeze(-1) - marked.sum(-1)) * cells).sum()
    text = batch.cells[:, 0]
    ends = ends + ((1.0 - batch.mask[text]) * _PADDING)[:, None, None]
    wanted = batch.ends[:, None, :, None].expand(*ends.shape[:3], 1)
    found = torch.log_softmax(ends, dim=-1).gather(-1, wanted).squeeze(-1).sum(-1)  # [M, K]
    evidence = -(found * batch.seen[text]).sum()
    said = torch.log_softmax(output.speaker, dim=-1)
    speaker = -(said[torch.arange(size), :, batch.speakers] * batch.seen).sum()
    parts = labels + _ATTENTION * attention + _EVIDENCE * evidence + _SPEAKER * speaker
    return parts / size


def answer(
    heads: Heads, states: States, rows: npt.NDArray[np.int64], sets: npt.NDArray[np.int64]
) -> list[Raw]:
    """Return what the set of heads `sets[k]` says of the text `rows[k]`, for each of them."""
    found: dict[int, Raw] = {}
    order = np.argsort(states.lengths[rows], kind="stable")
    for first in range(0, len(order), _BATCH):
        places = order[first : first + _BATCH]
        padded, mask = pad_states(states, rows[places])
        with torch.inference_mode():
            output = heads(padded, mask)
        for at, place in enumerate(places):
            chosen, length = sets[place], states.lengths[rows[place]]
            mean = padded[at, :length].mean(0)
            found[int(place)] = Raw(
                output.logits[at, chosen].numpy(),
                output.evidence[at, chosen, :, :, :length].numpy(),
                output.speaker[at, chosen].numpy(),
                nn.functional.normalize(mean, dim=0).numpy(),
            )
    return [found[place] for place in range(len(rows))]
