"""Label Studio's JSON as it is published, and the configuration that gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from label_fixtures import CODEBOOK, TEXT

from diplophrase.errors import InvalidData
from serving.store.drafts import gather
from serving.store.formats import read_rows
from serving.store.labelstudio import labelling_config, read_tasks, write_tasks


def choice(name: str, *values: str) -> dict[str, Any]:
    value = {"choices": list(values)}
    return {"from_name": name, "to_name": "text", "type": "choices", "value": value}


def span(label: str, start: int, end: int, words: str | None, **beside: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": words, "labels": [label]}
    if words is None:
        del value["text"]
    return {"from_name": "evidence", "to_name": "text", "type": "labels", "value": value, **beside}


def task(*results: dict[str, Any], text: str = TEXT, **annotation: Any) -> dict[str, Any]:
    """Return a task as Label Studio exports it (https://labelstud.io/guide/task_format)."""
    done = {
        "id": 1001,
        "completed_by": {"id": 10, "email": "ada@example.org", "first_name": "", "last_name": ""},
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-11-22T21:52:49.513742Z",
        "updated_at": "2026-11-22T22:16:08.746926Z",
        "lead_time": 4.288,
        "result_count": len(results),
        "task": 1,
        "result": [{"id": "Dx_aB91ISN", "origin": "manual", **item} for item in results],
        **annotation,
    }
    return {
        "id": 1,
        "created_at": "2026-11-22T21:52:49.513742Z",
        "updated_at": "2026-11-22T22:16:08.746926Z",
        "project": 83,
        "data": {"text": text, "id": "task-1", "created": "2026-11-01"},
        "annotations": [done],
        "predictions": [{"model_version": "model 1", "result": []}],
        "meta": {},
    }


WHOLE = (
    choice("labels", "economic_cooperation", "partnership_tier"),
    span("economic_cooperation", 55, 60, "trade"),
    span("partnership_tier", 24, 45, "strategic partnership"),
    choice("speaker", "joint"),
    {
        "from_name": "tier",
        "to_name": "text",
        "type": "textarea",
        "value": {"text": ["strategic partnership"]},
    },
)


def test_an_export_of_label_studio_comes_in() -> None:
    rows, faults = read_tasks([task(*WHOLE)])
    assert faults == []
    gathered = gather(rows, CODEBOOK, max_characters=100, created="2026-11-22")
    assert gathered.faults == []
    [entry] = gathered.entries
    note = entry.annotation
    assert (note.annotator, note.speaker, note.tier) == (
        "ada@example.org",
        "joint",
        "strategic partnership",
    )
    assert note.evidence == {"partnership_tier": (24, 45), "economic_cooperation": (55, 60)}
    assert (note.id != "task-1", note.created) == (True, "2026-11-22")  # another's, and its time


@pytest.mark.parametrize(
    ("who", "annotator"),
    [(7, "label-studio-7"), ({"id": 7}, "label-studio-7"), ("eve", "eve"), (None, None)],
)
def test_who_completed_a_task_labelled_it(who: object, annotator: str | None) -> None:
    [(_, row)], _ = read_tasks([task(*WHOLE, completed_by=who)])
    assert isinstance(row, dict)
    assert row.get("annotator") == annotator
    assert row.get("id") == ("task-1" if who is None else None)


def test_skipped_tasks_and_those_that_nobody_labelled_give_no_row() -> None:
    skipped, bare = task(was_cancelled=True), task()
    bare["annotations"] = []
    rows, faults = read_tasks([skipped, bare, task(*WHOLE)])
    assert ([index for index, _ in rows], faults) == ([3], [])


def test_offsets_in_utf16_units_are_told_by_their_words() -> None:
    text = "🤝🤝 trade 🤝"
    results = [
        span("economic_cooperation", start, start + 5, words)
        for start, words in ((3, "trade"), (5, "trade"), (3, None))
    ]
    for result in results:
        [(_, row)], faults = read_tasks([task(result, text=text)])
        assert faults == []
        assert isinstance(row, dict)
        assert row["evidence"] == {"economic_cooperation": [3, 8]}


@pytest.mark.parametrize(
    ("result", "field", "rule"),
    [
        (span("x", 0, 4, "Thex"), "evidence", r"its words must stand in the text at \[0, 4\]"),
        (span("x", True, 4, "They"), "evidence", "whole numbers"),
        (choice("mood", "good"), "result.from_name", "must be a control of `diplophrase"),
        (choice("speaker", "china", "joint"), "speaker", "must be one choice"),
        ({"from_name": "labels", "value": 3}, "result", "a from_name and a value"),
    ],
)
def test_what_our_configuration_does_not_give_is_a_fault(
    tmp_path: Path, result: dict[str, Any], field: str, rule: str
) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(*WHOLE), task(result)]), encoding="utf-8")
    with pytest.raises(InvalidData, match=rf"1 fault\(s\).*\n  row 2, {field}: found .*{rule}"):
        read_rows(path, "labelstudio")


def test_two_spans_of_a_label_are_a_fault() -> None:
    _, faults = read_tasks([task(span("x", 0, 4, "They"), span("x", 5, 9, "will"))])
    assert [(fault.field, fault.rule) for fault in faults] == [
        ("evidence.x", "one span for a label")
    ]


@pytest.mark.parametrize(
    ("tasks", "rule"),
    [
        ({"text": "x"}, "must be a list of tasks"),
        ([{"text": "x"}], "a task has data and a list of annotations"),
        ([{"data": {"text": "x"}, "annotations": [{}]}], "an annotation has a list `result`"),
    ],
)
def test_other_json_is_refused(tasks: object, rule: str) -> None:
    rows, faults = read_tasks(tasks)
    assert rows == []
    assert rule in faults[0].rule


def test_what_is_written_fits_the_configuration() -> None:
    """Each result names a control of the configuration, of its type, and values that it has."""
    view = ET.fromstring(labelling_config(CODEBOOK))
    types = {"Choices": "choices", "Labels": "labels", "TextArea": "textarea"}
    controls = {found.get("name"): found for tag in types for found in view.iter(tag)}
    assert set(controls) == {"labels", "evidence", "speaker", "tier", "taiwan_formula", "note"}
    assert [found.get("name") for found in view.iter("Text")] == ["text"]
    for name in ("labels", "evidence"):
        assert tuple(option.get("value") for option in controls[name]) == CODEBOOK.ids
    rows, _ = read_tasks([task(*WHOLE)])
    [entry] = gather(rows, CODEBOOK, max_characters=100, created="").entries
    [written] = write_tasks([entry.annotation])
    assert written["data"]["text"] == TEXT
    for result in written["annotations"][0]["result"]:
        control = controls[result["from_name"]]
        assert result["type"] == types[control.tag]
        assert control.get("toName") == result["to_name"] == "text"
        options = {option.get("value") for option in control}
        assert control.tag == "TextArea" or options.issuperset(result["value"][result["type"]])


def test_a_conditional_control_hangs_on_the_label_of_its_attribute() -> None:
    view = ET.fromstring(labelling_config(CODEBOOK))
    found = {
        control.get("name"): box.get("whenChoiceValue")
        for box in view.iter("View")
        if box.get("visibleWhen") == "choice-selected"
        for control in box
        if control.get("toName")
    }
    assert found == {attribute.id: attribute.label for attribute in CODEBOOK.attributes}
