"""Annotations as a `datasets.Dataset` of token ids and targets, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from diplophrase.annotations import SPEAKERS, Annotation
from training.unlabelled import PartlyKnown

UNKNOWN = -1.0  # in place of a label's 0 or 1 where it is not known
NO_EVIDENCE = -100  # in place of a token's number where a label has no evidence
_WIDTH_STEP = 16  # few distinct shapes, so that the kernels compiled for one are used again


def label_targets(
    annotations: Sequence[Annotation], labels: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the labels as zeros and ones [N, L], in the codebook's order."""
    column = {label: index for index, label in enumerate(labels)}
    targets = np.zeros((len(annotations), len(labels)), dtype=np.float32)
    for row, annotation in enumerate(annotations):
        for label in annotation.labels:
            targets[row, column[label]] = 1.0
    return targets


def known_targets(
    annotations: Sequence[Annotation], labels: Sequence[str]
) -> npt.NDArray[np.float32]:
    """Return the labels [N, L] as `label_targets`, with `UNKNOWN` where it is not known."""
    targets = label_targets(annotations, labels)
    for row, annotation in enumerate(annotations):
        if isinstance(annotation, PartlyKnown):
            targets[row, [labels.index(label) for label in annotation.unknown]] = UNKNOWN
    return targets


def build_dataset(
    annotations: Sequence[Annotation], labels: Sequence[str], tokenizer: Tokenizer
) -> Dataset:
    """Tokenise annotations into rows with `input_ids`, `targets`, `evidence` and `speaker`.

    `evidence` holds [label, first token, last token] for each span that lies before the
    tokenizer's cut.
    """
    encodings = tokenizer.encode_batch([annotation.text for annotation in annotations])
    targets = known_targets(annotations, labels)
    rows = [
        {
            "input_ids": encoding.ids,
            "targets": target.tolist(),
            "evidence": _evidence_tokens(annotation, labels, encoding),
            "speaker": SPEAKERS.index(annotation.speaker),
        }
        for annotation, target, encoding in zip(annotations, targets, encodings, strict=True)
    ]
    return Dataset.from_list(rows)


def _evidence_tokens(
    annotation: Annotation, labels: Sequence[str], encoding: Encoding
) -> list[list[int]]:
    spans = []
    for label, (start, end) in annotation.evidence.items():
        inside = [
            token
            for token, (first, last) in enumerate(encoding.offsets)
            if first < end and last > start and not encoding.special_tokens_mask[token]
        ]
        if inside:
            spans.append([labels.index(label), inside[0], inside[-1]])
    return spans


@dataclass(frozen=True, slots=True)
class Batch:
    """B texts padded to T tokens."""

    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T]
    targets: Tensor  # [B, L], `UNKNOWN` where it is not known
    evidence: Tensor  # [B, L, T], 1 on the tokens of a label's evidence
    ends: Tensor  # [B, 2, L], the first and the last token of a label's evidence
    speaker: Tensor  # [B]


def iterate_batches(
    dataset: Dataset, *, size: int, generator: np.random.Generator
) -> Iterator[Batch]:
    """Yield all rows once in random batches whose texts are of like length.

    Rows are shuffled, cut into pools of 20 batches, sorted inside a pool, and the batches are
    shuffled again, so that little is padded and no order is learnt.
    """
    lengths = [len(ids) for ids in dataset["input_ids"]]
    order = generator.permutation(len(lengths))
    pool = size * 20
    batches: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda row: lengths[row])
        batches += [np.array(rows[k : k + size]) for k in range(0, len(rows), size)]
    for index in generator.permutation(len(batches)):
        yield collate(dataset.select(batches[index]))


def collate(rows: Dataset) -> Batch:
    """Pad the rows of a small dataset into one batch."""
    ids = rows["input_ids"][:]
    width = -(-max(len(row) for row in ids) // _WIDTH_STEP) * _WIDTH_STEP
    targets = torch.tensor(rows["targets"][:])
    input_ids = torch.zeros((len(ids), width), dtype=torch.long)
    mask = torch.zeros((len(ids), width), dtype=torch.long)
    evidence = torch.zeros((len(ids), targets.shape[1], width))
    ends = torch.full((len(ids), 2, targets.shape[1]), NO_EVIDENCE)
    for row, (tokens, spans) in enumerate(zip(ids, rows["evidence"][:], strict=True)):
        input_ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
        for label, first, last in spans:
            evidence[row, label, first : last + 1] = 1.0
            ends[row, :, label] = torch.tensor([first, last])
    return Batch(input_ids, mask, targets, evidence, ends, torch.tensor(rows["speaker"][:]))
