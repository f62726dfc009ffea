"""Each format gives back what it was given, and names each bad row of what it cannot read."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_fixtures import CODEBOOK, ROOT

from diplophrase.annotations import SPEAKERS, Annotation, Source, data_hash, read_annotations
from diplophrase.errors import DiplophraseError, InvalidData
from serving.store.columns import FIELDS
from serving.store.drafts import read_draft
from serving.store.formats import dump, format_of, read_rows, write

FORMATS = ("csv", "jsonl", "parquet", "labelstudio")
SEEDS = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
words = st.text(characters, min_size=1, max_size=40)
names = st.text(string.ascii_letters + "ñ🤝 ,;\"'=", min_size=1, max_size=20)


@st.composite
def annotations(draw: st.DrawFn) -> Annotation:
    text = draw(words.filter(lambda found: found.strip() != ""))
    labels = draw(st.lists(st.sampled_from(CODEBOOK.ids), unique=True, max_size=4))
    evidence = {}
    for label in draw(st.permutations(labels)):
        start = draw(st.integers(0, len(text) - 1))
        evidence[label] = (start, draw(st.integers(start + 1, len(text))))
    numbers = st.none() | st.integers(0, 10**6)
    places = st.builds(Source, doc=names, sentence=numbers, start=numbers, end=numbers)
    return Annotation(
        id=draw(st.uuids()).hex,
        text=text,
        labels=tuple(labels),
        evidence=evidence,
        speaker=draw(st.sampled_from(SPEAKERS)),
        tier=draw(st.none() | words),
        taiwan_formula=draw(st.none() | st.lists(names, min_size=1, max_size=3).map(tuple)),
        source=draw(st.none() | places),
        annotator=draw(names),
        provenance=draw(st.sampled_from(["seed", "authored", "added"])),
        codebook=draw(names),
        created=draw(names),
        note=draw(st.none() | words),
    )


def read_back(path: Path, kind: str) -> list[Annotation]:
    """Return the rows of a file as annotations, just as they stand."""
    found = []
    for _, row in read_rows(path, kind):  # type: ignore[arg-type]
        draft = read_draft(row)
        assert not isinstance(draft, list), draft
        found.append(Annotation.model_validate(draft.model_dump(exclude={"model_version"})))
    return found


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(notes=st.lists(annotations(), max_size=4))
def test_a_round_trip_loses_nothing(
    kind: str, notes: list[Annotation], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / f"round-trip-{kind}"
    path.write_bytes(dump(notes, kind))  # type: ignore[arg-type]
    found = read_back(path, kind)
    assert found == sorted(notes, key=lambda note: note.id)
    assert [list(note.evidence) for note in found] == [
        list(note.evidence) for note in sorted(notes, key=lambda note: note.id)
    ]
    assert data_hash(found) == data_hash(notes)
    assert dump(notes[::-1], kind) == path.read_bytes()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", FORMATS)
def test_our_own_seeds_pass_through_each_format(kind: str, tmp_path: Path) -> None:
    write(SEEDS, kind, tmp_path / "file")  # type: ignore[arg-type]
    assert read_back(tmp_path / "file", kind) == sorted(SEEDS, key=lambda note: note.id)


def test_datasets_reads_what_is_written_for_it(tmp_path: Path) -> None:
    from datasets import load_from_disk

    write(SEEDS, "datasets", tmp_path / "set")
    found = load_from_disk(str(tmp_path / "set"))
    assert found.column_names == list(FIELDS)
    assert found["id"][:] == sorted(note.id for note in SEEDS)
    first = min(SEEDS, key=lambda note: note.id if note.tier else "z")
    row = next(row for row in found if row["id"] == first.id)
    spans = {span["label"]: (span["start"], span["end"]) for span in row["evidence"]}
    assert (spans, row["tier"], tuple(row["labels"])) == (first.evidence, first.tier, first.labels)
    with pytest.raises(DiplophraseError, match="is there already"):
        write(SEEDS, "datasets", tmp_path / "set")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\nx\n", "found the columns text; a file has text and labels"),
        ("a.csv", "text,labels,mood\n", "found the columns text, labels, mood"),
        ("a.csv", "text,labels,text\n", "each column once"),
        ("a.csv", 'text,labels\n"x', "line 2: unexpected end of data"),
        ("a.csv", "text,labels\nx,,\ny,\nz\n", "2 fault.*row 2, row: found 3 cells.*row 4, row"),
        ("a.csv", "text,labels,evidence\nx,,{\n", "row 2, evidence: found '{'; must be JSON"),
        ("a.csv", "", "a file has text and labels"),
        ("a.jsonl", '{"text": "x"}\n\n{\nnope\n', r"2 fault.*row 3, line.*row 4, line"),
        ("a.parquet", "text", "is not Parquet"),
    ],
)
def test_bad_files_are_refused_with_their_rows(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=f"(?s){message}"):
        read_rows(path, format_of(path, None))


def test_what_is_no_file_no_text_or_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="is not a file"):
        read_rows(tmp_path / "none.csv", "csv")
    (tmp_path / "x.csv").write_bytes(b"text,labels\n\xff,\n")
    with pytest.raises(InvalidData, match=r"not UTF-8 text \(byte 12\)"):
        read_rows(tmp_path / "x.csv", "csv")
    for chosen, found in (("xml", "xml"), (None, ".txt")):
        with pytest.raises(InvalidData, match=f"found '{found}'; the formats are csv"):
            format_of(Path("x.txt"), chosen)
    with pytest.raises(InvalidData, match="datasets is written but not read"):
        read_rows(tmp_path / "x.csv", "datasets")


def test_a_spreadsheet_may_leave_out_what_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    cell = json.dumps({"economic_cooperation": "trade"}).replace('"', '""')
    path.write_text(f'\ufefftext,labels,evidence\nMore trade.,economic_cooperation,"{cell}"\n')
    expected: dict[str, Any] = {
        "text": "More trade.",
        "labels": ["economic_cooperation"],
        "evidence": {"economic_cooperation": "trade"},
    }
    assert read_rows(path, "csv") == [(2, expected)]
