"""Hand labels: reading a file, and every fault that the check names."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diplophrase.annotations import (
    SPEAKERS,
    Annotation,
    Source,
    check_annotations,
    read_annotations,
)
from diplophrase.codebook import Codebook
from diplophrase.errors import Detail, InvalidData

TEXT = "Both sides back a strategic partnership in trade."
BOOK = Codebook.model_validate(
    {
        "version": "1.0",
        "labels": [
            {"id": name, "name": name, "definition": "A rule.", "examples": ["One.", "Two."]}
            for name in ("ties", "status", "trade")
        ],
        "attributes": [
            {
                "id": "tier",
                "kind": "grade",
                "label": "ties",
                "rule": "a grade in canonical form",
                "words": {"strategic": "strategic"},
                "nouns": ["partnership"],
                "canonical_noun": "partnership",
                "tails": ["coordination"],
                "unspecified": "unspecified",
            },
            {
                "id": "taiwan_formula",
                "kind": "formula",
                "label": "status",
                "rule": "policy, principle or other",
                "values": {"policy": ["policy"], "principle": ["principle"]},
                "otherwise": "other",
            },
        ],
    }
)


def row(**fields: Any) -> dict[str, Any]:
    """Return an annotation without fault, `fields` changed."""
    plain = {"id": "a-1", "text": TEXT, "labels": [], "evidence": {}, "speaker": "joint"}
    return plain | fields


TRADE = {"labels": ["trade"], "evidence": {"trade": [43, 48]}}
TIES = {"labels": ["ties"], "evidence": {"ties": [18, 39]}, "tier": "strategic partnership"}
STATUS = {"labels": ["status"], "evidence": {"status": [0, 4]}, "taiwan_formula": ["policy"]}


def write(folder: Path, *rows: dict[str, Any] | str) -> Path:
    path = folder / "notes.jsonl"
    lines = [item if isinstance(item, str) else json.dumps(item) for item in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, **options: bool) -> InvalidData:
    with pytest.raises(InvalidData, match=re.escape(path.name)) as caught:
        check_annotations(path, BOOK, **options)
    return caught.value


def test_reads_every_field(tmp_path: Path) -> None:
    source = {"doc": "one.txt", "sentence": 4, "start": 10, "end": 59}
    path = write(
        tmp_path,
        row(
            **TIES,
            source=source,
            annotator="pass-a",
            provenance="seed",
            codebook="1.0",
            created="2026-11-22",
            note="clear",
        ),
    )
    assert read_annotations(path) == [
        Annotation(
            id="a-1",
            text=TEXT,
            labels=("ties",),
            evidence={"ties": (18, 39)},
            speaker="joint",
            tier="strategic partnership",
            source=Source(doc="one.txt", sentence=4, start=10, end=59),
            annotator="pass-a",
            provenance="seed",
            codebook="1.0",
            created="2026-11-22",
            note="clear",
        )
    ]


def test_defaults_of_an_added_label() -> None:
    note = Annotation.model_validate(row())
    assert (note.provenance, note.annotator, note.codebook, note.created) == ("added", "", "", "")
    assert (note.tier, note.taiwan_formula, note.source, note.note) == (None, None, None, None)


def test_blank_lines_and_crlf_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    lines = ["", json.dumps(row()), "   ", json.dumps(row(id="a-2")), ""]
    path.write_bytes("\r\n".join(lines).encode())
    assert [note.id for note in read_annotations(path)] == ["a-1", "a-2"]


def test_a_line_separator_in_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    text = "One\u2028two\x85three"
    path = write(tmp_path, json.dumps(row(text=text), ensure_ascii=False))
    assert [note.text for note in read_annotations(path)] == [text]


def test_an_empty_file_holds_no_annotation(tmp_path: Path) -> None:
    assert read_annotations(write(tmp_path)) == []


def test_to_json_leaves_out_what_does_not_apply() -> None:
    assert json.loads(Annotation.model_validate(row()).to_json()) == row(
        annotator="", provenance="added", codebook="", created=""
    )


def test_to_json_is_one_line_that_reads_back() -> None:
    note = Annotation.model_validate(row(text="“Côté”\none 🤝", source={"doc": "a.txt"}))
    line = note.to_json()
    assert "“Côté”\\none 🤝" in line
    assert "\n" not in line
    assert Annotation.model_validate_json(line) == note


def test_missing_file_says_what_to_give(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.jsonl"
    message = (
        f"{path} is not there. Give the path of a file of annotations, one JSON object a line."
    )
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        read_annotations(path)


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'{"id": "\xff"}')
    message = f"{path} is not UTF-8 text (byte 8). Convert it to UTF-8."
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("line", "field", "found"),
    [
        ("not json", "line", "'not json'"),
        ("[1]", "line", "[1]"),
        ("null", "line", "None"),
        (row(id=""), "id", "''"),
        (row(id=7), "id", "7"),
        (row(text=""), "text", "''"),
        (row(labels="trade"), "labels", "'trade'"),
        (row(labels=[1]), "labels.0", "1"),
        (row(evidence={"trade": [1]}), "evidence.trade.1", "[1]"),
        (row(evidence={"trade": [1, 2, 3]}), "evidence.trade", "[1, 2, 3]"),
        (row(evidence={"trade": [1, 2.5]}), "evidence.trade.1", "2.5"),
        (row(evidence=None), "evidence", "None"),
        (row(speaker="host"), "speaker", "'host'"),
        (row(provenance="guessed"), "provenance", "'guessed'"),
        (row(taiwan_formula="policy"), "taiwan_formula", "'policy'"),
        (row(source={"start": 4}), "source.doc", "{'start': 4}"),
        (row(source={"doc": "a.txt", "page": 4}), "source.page", "4"),
        (row(stance="warm"), "stance", "'warm'"),
        (row(speaker="x" * 100), "speaker", "'" + "x" * 79),
    ],
)
def test_a_line_that_breaks_the_schema(
    tmp_path: Path, line: dict[str, Any] | str, field: str, found: str
) -> None:
    path = write(tmp_path, row(id="a-0"), line)
    with pytest.raises(InvalidData, match=r"^notes\.jsonl: 1 fault\(s\)\.\n  line 2, ") as caught:
        read_annotations(path)
    (detail,) = caught.value.details
    assert (detail.index, detail.field, detail.found) == (2, field, found)


@pytest.mark.parametrize("field", ["id", "text", "labels", "evidence", "speaker"])
def test_a_field_that_is_needed(tmp_path: Path, field: str) -> None:
    whole = row()
    del whole[field]
    with pytest.raises(InvalidData, match=rf"line 1, {field}: found .*; Field required") as caught:
        read_annotations(write(tmp_path, whole))
    assert [detail.field for detail in caught.value.details] == [field]


def test_every_broken_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "no", row(), row(speaker="host", id=""), "", "[]")
    with pytest.raises(InvalidData, match=r"^notes\.jsonl: 4 fault\(s\)\.\n") as caught:
        read_annotations(path)
    assert [(detail.index, detail.field) for detail in caught.value.details] == [
        (1, "line"),
        (3, "id"),
        (3, "speaker"),
        (5, "line"),
    ]


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_every_speaker_is_accepted(tmp_path: Path, speaker: str) -> None:
    path = write(tmp_path, row(speaker=speaker))
    assert [note.speaker for note in check_annotations(path, BOOK)] == [speaker]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        TRADE,
        TIES,
        STATUS,
        TIES | {"tier": "unspecified"},
        TIES | {"tier": "strategic partnership of coordination"},
        STATUS | {"taiwan_formula": ["principle", "other"]},
        {"labels": ["trade"], "evidence": {"trade": [0, len(TEXT)]}},
        {"labels": ["trade", "ties"], "evidence": {"ties": [18, 39], "trade": [18, 39]}}
        | {"tier": "unspecified"},
    ],
)
def test_annotations_without_fault(tmp_path: Path, fields: dict[str, Any]) -> None:
    path = write(tmp_path, row(**fields))
    assert check_annotations(path, BOOK) == [Annotation.model_validate(row(**fields))]


ONE_FOR_EACH = "one span for each label and none besides"
SPAN = "0 <= start < end <= 49, the length of the text"


@pytest.mark.parametrize(
    ("fields", "details"),
    [
        (
            {"labels": ["colour"], "evidence": {"colour": [0, 4]}},
            [("labels", "colour", "labels are those of the codebook: ties, status, trade")],
        ),
        (
            TRADE | {"labels": ["trade", "trade"]},
            [("labels", "['trade', 'trade']", "each label at most once")],
        ),
        (
            {"labels": ["trade"]},
            [("evidence", "labels ['trade'], evidence for []", ONE_FOR_EACH)],
        ),
        (
            {"evidence": {"trade": [0, 4]}},
            [("evidence", "labels [], evidence for ['trade']", ONE_FOR_EACH)],
        ),
        (
            TRADE | {"evidence": {"trade": [5, 5]}},
            [("evidence.trade", "[5, 5]", SPAN)],
        ),
        (
            TRADE | {"evidence": {"trade": [6, 5]}},
            [("evidence.trade", "[6, 5]", SPAN)],
        ),
        (
            TRADE | {"evidence": {"trade": [-1, 5]}},
            [("evidence.trade", "[-1, 5]", SPAN)],
        ),
        (
            TRADE | {"evidence": {"trade": [0, 50]}},
            [("evidence.trade", "[0, 50]", SPAN)],
        ),
        (
            TIES | {"tier": None},
            [("tier", "None", "tier is given exactly where ties is")],
        ),
        (
            TRADE | {"tier": "unspecified"},
            [("tier", "unspecified", "tier is given exactly where ties is")],
        ),
        (
            TIES | {"tier": "firm partnership"},
            [("tier", "firm partnership", "a grade in canonical form")],
        ),
        (
            STATUS | {"taiwan_formula": None},
            [("taiwan_formula", "None", "taiwan_formula is given exactly where status is")],
        ),
        (
            TRADE | {"taiwan_formula": []},
            [("taiwan_formula", "()", "taiwan_formula is given exactly where status is")],
        ),
        (
            STATUS | {"taiwan_formula": ["policy", "law", "custom"]},
            [("taiwan_formula", "law, custom", "policy, principle or other")],
        ),
        (
            {"labels": ["trade"], "tier": "firm partnership"},
            [
                ("evidence", "labels ['trade'], evidence for []", ONE_FOR_EACH),
                ("tier", "firm partnership", "tier is given exactly where ties is"),
                ("tier", "firm partnership", "a grade in canonical form"),
            ],
        ),
    ],
)
def test_a_label_against_the_codebook(
    tmp_path: Path, fields: dict[str, Any], details: list[tuple[str, str, str]]
) -> None:
    error = refusal(write(tmp_path, row(id="a-0", text="Nothing."), row(**fields)))
    assert error.details == [Detail(*detail, index=2) for detail in details]
    listed = "\n".join(
        f"  line 2, {field}: found {found}; {rule}" for field, found, rule in details
    )
    assert error.message == (
        f"notes.jsonl: {len(details)} fault(s).\n{listed}\nMend these lines, then check again."
    )
    assert (error.kind, error.status, error.exit_code) == ("invalid_data", 422, 3)


def test_offsets_count_code_points(tmp_path: Path) -> None:
    text = "🤝🏽 e\u0301"
    whole = {"labels": ["trade"], "evidence": {"trade": [0, 5]}}
    assert check_annotations(write(tmp_path, row(text=text, **whole)), BOOK)[0].text == text
    error = refusal(write(tmp_path, row(text=text, **TRADE | {"evidence": {"trade": [0, 6]}})))
    assert error.details == [
        Detail("evidence.trade", "[0, 6]", "0 <= start < end <= 5, the length of the text", 1)
    ]


def test_ids_are_unique(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, row(), "", row(id="a-2"), row(), row()))
    assert error.details == [
        Detail("id", "a-1", "unique; line 1 has it too", 4),
        Detail("id", "a-1", "unique; line 1 has it too", 5),
    ]


def test_the_same_text_carries_the_same_labels(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, row(), row(id="a-2"), row(id="a-3", **TRADE)))
    assert error.details == [
        Detail(
            "labels",
            "['trade'] for 'Both sides back a strategic partnership '",
            "the same text carries the same labels; line 1 has []",
            3,
        )
    ]


def test_the_order_of_labels_is_no_contradiction(tmp_path: Path) -> None:
    spans = {"evidence": {"ties": [18, 39], "trade": [43, 48]}, "tier": "unspecified"}
    path = write(
        tmp_path,
        row(labels=["ties", "trade"], **spans),
        row(id="a-2", labels=["trade", "ties"], **spans),
    )
    assert [note.id for note in check_annotations(path, BOOK)] == ["a-1", "a-2"]


def test_a_record_may_contradict_itself_and_nothing_more(tmp_path: Path) -> None:
    path = write(tmp_path, row(), row(id="a-2", **TRADE))
    assert [note.id for note in check_annotations(path, BOOK, record=True)] == ["a-1", "a-2"]
    error = refusal(write(tmp_path, row(), row(**TRADE)), record=True)
    assert error.details == [Detail("id", "a-1", "unique; line 1 has it too", 2)]


def test_faults_stand_in_the_order_of_lines(tmp_path: Path) -> None:
    path = write(tmp_path, row(), row(), row(id="a-3", **TRADE), row(id="a-4", labels=["trade"]))
    assert [(detail.index, detail.field) for detail in refusal(path).details] == [
        (2, "id"),
        (3, "labels"),
        (4, "evidence"),
        (4, "labels"),
    ]


def test_a_file_that_cannot_be_read_is_not_checked_further(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, row(labels=["colour"]), "no"))
    assert [(detail.index, detail.field) for detail in error.details] == [(2, "line")]
