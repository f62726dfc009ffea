"""Labels of a user's own: adding one, reading it with ours, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from diplophrase.annotations import Annotation, check_annotations
from diplophrase.codebook import load_codebook
from diplophrase.command.labels import labels_app
from diplophrase.errors import DiplophraseError, InvalidData, InvalidRequest
from diplophrase.own_labels import add_label

OURS = {
    "version": "1.0",
    "labels": [
        {"id": name, "name": name, "definition": "A rule.", "examples": ["One.", "Two."]}
        for name in ("ties", "trade")
    ],
}


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "codebook.yaml"
    path.write_text(yaml.safe_dump(OURS))
    return path


def write_own(book: Path, file: str, **content: Any) -> Path:
    path = book.parent / "own" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_new_label_stands_beside_ours(book: Path) -> None:
    before, ours = book.read_bytes(), load_codebook(book)
    path, whole = add_label(
        book, "sea_law", " Rules of the sea. ", include=["a strait"], examples=["Ships pass."]
    )
    assert book.read_bytes() == before
    assert path == book.parent / "own" / "sea_law.yaml"
    assert [file.name for file in path.parent.iterdir()] == ["sea_law.yaml"]
    assert (whole.ids, whole.own) == (("ties", "trade", "sea_law"), ("sea_law",))
    label = whole.labels[2]
    assert (label.name, label.definition) == ("sea law", "Rules of the sea.")
    assert (label.include, label.exclude, label.examples) == (("a strait",), (), ("Ships pass.",))
    assert (ours.version, whole.version) == ("1.0", "1.0+sea_law")
    assert ours.hash != whole.hash == load_codebook(book).hash


def test_the_version_names_every_own_label_and_tells_what_was_known(book: Path) -> None:
    add_label(book, "water", "Rivers.")
    _, whole = add_label(book, "climate", "Warming.", name="the climate")
    assert whole.version == "1.0+climate+water"
    assert whole.labels[2].name == "the climate"
    assert [whole.knew(version, "climate") for version in ("1.0", "1.0+water", "1.0+climate")] == [
        False,
        False,
        True,
    ]
    assert whole.knew("1.0", "ties")
    assert whole.knew("", "ties")
    assert not whole.knew("", "climate")


def test_without_own_labels_nothing_changes(book: Path) -> None:
    (book.parent / "own").mkdir()
    (book.parent / "own" / "notes.txt").write_text("to do")
    whole = load_codebook(book)
    assert (whole.version, whole.own, whole.ids) == ("1.0", (), ("ties", "trade"))


@pytest.mark.parametrize(
    ("label", "fields", "faults"),
    [
        ("Climate", {}, ["id: found 'Climate'; a small letter, then"]),
        ("../up", {}, ["id: found '../up'; a small letter, then"]),
        ("a+b", {}, ["id: found 'a+b'; a small letter, then"]),
        ("ties", {}, ["id: found 'ties'; a new label has a new id; ours is called so"]),
        ("water", {}, ["id: found 'water'; a new label has a new id; your own is called so"]),
        ("climate", {"definition": " "}, ["definition: found ''; a definition says when"]),
        ("climate", {"name": ""}, ["name: found ''; a name has a letter"]),
        ("climate", {"exclude": ["x", " "]}, ["exclude: found ''; a case has a word"]),
        (
            "1",
            {"definition": "", "examples": [""]},
            ["id: found '1'; a small", "definition: found ''; a d", "examples: found ''; a case"],
        ),
    ],
)
def test_every_fault_is_named_and_nothing_is_written(
    book: Path, label: str, fields: dict[str, Any], faults: list[str]
) -> None:
    add_label(book, "water", "Rivers.")
    given = {"definition": "Warming.", **fields}
    with pytest.raises(InvalidRequest, match="was not added") as caught:
        add_label(book, label, **given)
    lines = caught.value.message.split("\n")[1:-1]
    assert [line.strip()[: len(fault)] for line, fault in zip(lines, faults, strict=True)] == faults
    assert [file.name for file in (book.parent / "own").iterdir()] == ["water.yaml"]


def test_a_folder_that_cannot_be_written_is_named(book: Path) -> None:
    (book.parent / "own").write_text("in the way")
    with pytest.raises(
        DiplophraseError, match=r"climate\.yaml cannot be written: Not a directory"
    ) as caught:
        add_label(book, "climate", "Warming.")
    assert caught.value.kind == "storage"


def test_every_fault_of_every_own_file_is_named(book: Path) -> None:
    bad = write_own(book, "a.yaml", id="b", name="b", definition="B.")
    taken = write_own(book, "ties.yaml", id="ties", name="t", definition="T.")
    empty = write_own(book, "c.yaml", id="c", definition="")
    broken = book.parent / "own" / "d.yaml"
    broken.write_text("id: [")
    with pytest.raises(InvalidData, match="Mend or take away these files") as caught:
        load_codebook(book)
    assert [line for line in caught.value.message.split("\n") if "own" in line] == [
        f"{bad} holds the label 'b'. A file is named as its label.",
        f"{empty} is no label:",
        *[line for line in caught.value.message.split("\n") if line.startswith(str(broken))],
        f"{taken}: the codebook has a label 'ties'. Choose another id.",
    ]
    assert "  name: Field required\n  definition: String should have" in caught.value.message


def test_annotations_beside_own_labels_say_what_they_were_labelled_by(book: Path) -> None:
    add_label(book, "climate", "Warming.")
    notes = [
        Annotation(id=f"n{k}", text=f"Text {k}.", labels=(), evidence={}, speaker="none", **fields)
        for k, fields in enumerate(({"codebook": "1.0"}, {}))
    ]
    path = book.parent / "added.jsonl"
    path.write_text("".join(note.to_json() + "\n" for note in notes))
    rule = "line 2, codebook: found ''; beside labels of your own it names the version labelled by"
    with pytest.raises(InvalidData, match=re.escape(rule)) as caught:
        check_annotations(path, load_codebook(book))
    assert len(caught.value.details) == 1
    (book.parent / "own" / "climate.yaml").unlink()
    assert check_annotations(path, load_codebook(book)) == notes


def test_the_command_adds_and_check_covers_it(book: Path, tmp_path: Path) -> None:
    where = ["--labels", str(tmp_path)]
    cases = ["--in", "a", "--in", "b", "--out", "c", "--example", "D."]
    done = CliRunner().invoke(
        labels_app, ["new", "climate", "--definition", "Warming.", *cases, *where]
    )
    assert (done.exit_code, done.stdout) == (0, "1.0+climate\n")
    label = load_codebook(book).labels[2]
    assert (label.include, label.exclude, label.examples) == (("a", "b"), ("c",), ("D.",))
    (tmp_path / "annotations").mkdir()
    checked = CliRunner().invoke(labels_app, ["check", *where, "--seeds", str(tmp_path)])
    assert checked.stdout == "own/climate.yaml: a label of your own, no fault\n"
    (tmp_path / "own" / "climate.yaml").write_text("id: climate")
    broken = CliRunner().invoke(labels_app, ["check", *where, "--seeds", str(tmp_path)])
    assert isinstance(broken.exception, InvalidData)
    assert "climate.yaml is no label" in broken.exception.message
