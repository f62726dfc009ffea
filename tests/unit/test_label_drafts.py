"""What is handed in becomes annotations, or every fault is named by its row."""

from __future__ import annotations

from typing import Any

import pytest
from label_fixtures import CODEBOOK, TEXT, row

from serving.store.drafts import Gathered, default_id, gather


def gathered(*rows: object, start: int = 0) -> Gathered:
    return gather(list(enumerate(rows, start)), CODEBOOK, max_characters=100, created="2026-11-22")


def test_a_row_becomes_a_whole_annotation() -> None:
    [entry] = gathered(row()).entries
    note = entry.annotation
    assert note.id == default_id(entry.key, "ada")
    assert note.labels == ("partnership_tier", "economic_cooperation")  # in the codebook's order
    assert list(note.evidence.items()) == [
        ("partnership_tier", (24, 45)),
        ("economic_cooperation", (55, 60)),
    ]
    assert (note.provenance, note.codebook, note.created) == ("added", "1.0", "2026-11-22")
    assert (note.speaker, note.tier, note.note) == ("joint", "strategic partnership", None)


def test_words_and_offsets_are_the_same_evidence() -> None:
    spans = {"partnership_tier": [24, 45], "economic_cooperation": [55, 60]}
    words, offsets = gathered(row()), gathered(row(evidence=spans))
    assert words.entries[0].annotation == offsets.entries[0].annotation
    assert TEXT[24:45] == "strategic partnership"


@pytest.mark.parametrize(
    ("change", "field", "rule"),
    [
        ({"text": " \t"}, "text", "a text has a visible character"),
        ({"text": "\ud800"}, "text", "surrogate"),
        ({"text": "a\0b", "labels": [], "evidence": {}}, "text", "no NUL"),
        ({"text": "x" * 101}, "text", "at most 100 characters"),
        ({"labels": ["nothing"], "evidence": {}}, "labels", "labels are those of the codebook"),
        ({"labels": ["shared_future"] * 2}, "labels", "each label at most once"),
        ({"evidence": {}}, "evidence", "one span for each label"),
        (
            {"evidence": {"economic_cooperation": "absent"}},
            "evidence.economic_cooperation",
            "not 0",
        ),
        (
            {"evidence": {"economic_cooperation": "a"}},
            "evidence.economic_cooperation",
            "not 5 time",
        ),
        ({"evidence": {"economic_cooperation": [1, 999]}}, "evidence.economic_cooperation", "<="),
        (
            {"evidence": {"economic_cooperation": [1]}},
            "evidence.economic_cooperation",
            "start, end",
        ),
        ({"evidence": {"economic_cooperation": [True, 3]}}, "evidence.economic_cooperation", "end"),
        ({"tier": None}, "tier", "given exactly where partnership_tier is"),
        ({"tier": "grand"}, "tier", "partnership"),
        ({"taiwan_formula": ["policy"]}, "taiwan_formula", "exactly where taiwan_one_china is"),
        ({"speaker": "me"}, "speaker", "Input should be 'china'"),
        ({"annotator": ""}, "annotator", "at least 1 character"),
        ({"annotator": "\u200b"}, "annotator", "printable"),
        ({"annotator": "a\nb"}, "annotator", "printable"),
        ({"model_version": "\t"}, "model_version", "printable"),
        ({"source": {"doc": "\ud800"}}, "source.doc", "surrogate"),
        ({"note": "\ud800"}, "note", "surrogate"),
        ({"surprise": 1}, "surprise", "not known"),
        ({"source": {"doc": "x", "page": 1}}, "source.page", "not known"),
    ],
)
def test_each_fault_is_named(change: dict[str, Any], field: str, rule: str) -> None:
    found = gathered({**row(), **change}, start=7)
    assert any(
        fault.field == field and rule in fault.rule and fault.index == 7 for fault in found.faults
    ), found.faults


def test_all_faults_of_all_rows_come_together() -> None:
    found = gathered(row(labels=["nothing"]), row(), "no row", row(annotator="", speaker="me"))
    assert sorted({fault.index for fault in found.faults}) == [0, 2, 3]
    assert [fault.field for fault in found.faults if fault.index == 3] == ["annotator", "speaker"]


def test_an_annotator_labels_a_text_once() -> None:
    found = gathered(row(), row(text=f" {TEXT} ", evidence={}, labels=[], tier=None), start=2)
    assert [(fault.index, fault.rule) for fault in found.faults] == [
        (3, "an annotator labels a text once; row 2 has it too")
    ]
    others = gathered(row(id="x"), row(annotator="bea", id="x"))
    assert [(fault.index, fault.field) for fault in others.faults] == [(1, "id")]
    assert gathered(row(), row(annotator="bea")).faults == []
