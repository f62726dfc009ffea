"""Annotations as rows of token ids, and batches of them."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from training_fixtures import make_note, make_tokenizer

from training.dataset import NO_EVIDENCE, build_dataset, collate, iterate_batches, label_targets

LABELS = ("harbour", "school", "river")
# ids: [CLS] 2, [SEP] 3, "." 4, "," 5, "##s" 6, then the words from 8 on
WORDS = ("the", "harbour", "school", "river", "opens", "café", "“")


def rows_of(*notes, max_tokens: int = 64) -> Dataset:
    tokenizer = make_tokenizer(WORDS)
    tokenizer.enable_truncation(max_tokens)
    return build_dataset(notes, LABELS, tokenizer)


def evidence_of(text: str, spans: dict[str, str], max_tokens: int = 64) -> list[list[int]]:
    return rows_of(make_note("n", text, spans), max_tokens=max_tokens)["evidence"][0]


def rows_of_lengths(lengths: list[int]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "input_ids": [row + 1] * length,
                "targets": [0.0, 1.0],
                "evidence": [[1, 0, 0]],
                "speaker": row,
            }
            for row, length in enumerate(lengths)
        ]
    )


def batches_of(lengths: list[int], *, size: int, seed: int) -> list[list[int]]:
    """Return the rows in each batch."""
    generator = np.random.default_rng(seed)
    batches = iterate_batches(rows_of_lengths(lengths), size=size, generator=generator)
    return [batch.speaker.tolist() for batch in batches]


def test_targets_stand_in_the_order_of_the_codebook():
    text = "The harbour, the school."
    notes = [
        make_note("a", text, {"school": "school", "harbour": "harbour"}),
        make_note("b", text),
        make_note("c", text, {"river": "The"}),
    ]
    assert label_targets(notes, LABELS).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert label_targets(notes, LABELS[::-1]).tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert label_targets(notes, LABELS).dtype == np.float32
    assert label_targets([], LABELS).shape == (0, 3)


def test_a_row_holds_ids_targets_evidence_and_speaker():
    note = make_note("n", "The rivers, the harbour opens.", {"river": "rivers"}, speaker="joint")
    assert rows_of(note)[0] == {
        "input_ids": [2, 8, 11, 6, 5, 8, 9, 12, 4, 3],
        "targets": [0.0, 0.0, 1.0],
        "evidence": [[2, 2, 3]],
        "speaker": 2,
    }


@pytest.mark.parametrize(
    ("speaker", "index"),
    [("china", 0), ("counterpart", 1), ("joint", 2), ("third", 3), ("none", 4)],
)
def test_speakers_have_fixed_numbers(speaker, index: int):
    assert rows_of(make_note("n", "The river.", speaker=speaker))["speaker"] == [index]


@pytest.mark.parametrize(
    ("text", "words", "span"),
    [
        ("The harbour opens.", "harbour", [0, 2, 2]),
        ("The harbour opens.", "The harbour", [0, 1, 2]),
        ("The harbour opens.", "The harbour opens.", [0, 1, 4]),
        ("The harbour opens.", "arb", [0, 2, 2]),
        ("The harbours opens.", "harbours", [0, 2, 3]),
        ("The harbours opens.", "s opens", [0, 3, 4]),
        ("“The café, 🚢 the harbour", "harbour", [0, 7, 7]),
    ],
    ids=["word", "two", "all", "part of a word", "two pieces", "from a piece", "beyond ASCII"],
)
def test_evidence_spans_become_tokens(text: str, words: str, span: list[int]):
    assert evidence_of(text, {"harbour": words}) == [span]


def test_each_label_has_its_own_evidence():
    spans = {"river": "the river", "harbour": "The harbour"}
    assert evidence_of("The harbour, the river.", spans) == [[2, 4, 5], [0, 1, 2]]


def test_a_span_of_blanks_earns_no_token():
    assert evidence_of("The  harbour", {"harbour": "  "}) == []


def test_texts_are_cut_and_spans_past_the_cut_fall_away():
    text = "The harbour opens, the school opens."
    spans = {"harbour": "The harbour opens, the school", "school": "school"}
    note = make_note("n", text, spans)
    row = rows_of(note, max_tokens=6)[0]
    assert row["input_ids"] == [2, 8, 9, 12, 5, 3]
    assert row["targets"] == [1.0, 1.0, 0.0]
    assert row["evidence"] == [[0, 1, 4]]


def test_collate_pads_to_a_multiple_of_sixteen():
    notes = [
        make_note("a", "The rivers.", {"river": "rivers", "harbour": "The"}, speaker="third"),
        make_note("b", "The", speaker="china"),
    ]
    batch = collate(rows_of(*notes))
    assert batch.input_ids.tolist() == [[2, 8, 11, 6, 4, 3, *[0] * 10], [2, 8, 3, *[0] * 13]]
    assert batch.attention_mask.tolist() == [[1] * 6 + [0] * 10, [1] * 3 + [0] * 13]
    assert batch.targets.tolist() == [[1, 0, 1], [0, 0, 0]]
    assert batch.speaker.tolist() == [3, 0]
    assert batch.evidence.shape == (2, 3, 16)
    assert batch.evidence.nonzero().tolist() == [[0, 0, 1], [0, 2, 2], [0, 2, 3]]
    assert batch.evidence.sum() == 3.0
    assert batch.ends.tolist() == [
        [[1, NO_EVIDENCE, 2], [1, NO_EVIDENCE, 3]],
        [[NO_EVIDENCE] * 3] * 2,
    ]


@pytest.mark.parametrize(("length", "width"), [(1, 16), (16, 16), (17, 32), (33, 48)])
def test_widths_come_in_steps(length: int, width: int):
    batch = collate(rows_of_lengths([3, length]))
    assert tuple(batch.input_ids.shape) == (2, width)
    assert tuple(batch.evidence.shape) == (2, 2, width)


def test_every_row_comes_once_with_others_of_like_length():
    lengths = [5, 40, 9, 2, 30, 7, 20, 3, 11, 8]
    batches = batches_of(lengths, size=3, seed=0)
    assert sorted(row for batch in batches for row in batch) == list(range(10))
    assert sorted(sorted(lengths[row] for row in batch) for batch in batches) == [
        [2, 3, 5],
        [7, 8, 9],
        [11, 20, 30],
        [40],
    ]


def test_the_generator_decides_the_order():
    lengths = [3 + row % 7 for row in range(50)]
    first, again, other = (batches_of(lengths, size=4, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(row for batch in other for row in batch) == list(range(50))


def test_rows_are_sorted_only_inside_a_pool_of_twenty_batches():
    lengths = list(range(1, 61))
    batches = batches_of(lengths, size=1, seed=0)
    assert len(batches) == 60
    pairs = batches_of(lengths, size=2, seed=0)
    gaps = [abs(batch[0] - batch[1]) for batch in pairs]
    assert max(gaps) > 1  # 40 of 60 lengths make the first pool, so neighbours are missing
