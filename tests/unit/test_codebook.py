"""The codebook: what is read, what is refused, and its hash."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from diplophrase.codebook import Codebook, FormulaAttribute, GradeAttribute, load_codebook
from diplophrase.errors import InvalidData

COMMITTED = Path(__file__).parents[2] / "labels" / "codebook.yaml"
TIER = {
    "id": "tier",
    "kind": "grade",
    "label": "trade",
    "rule": "the grade words, then partnership",
    "words": {"strategic": "strategic", "cooperation": "cooperative"},
    "nouns": ["partnership", "partners"],
    "canonical_noun": "partnership",
    "tails": ["coordination"],
    "unspecified": "unspecified",
}
FORMULA = {
    "id": "taiwan_formula",
    "kind": "formula",
    "label": "energy",
    "rule": "all that apply",
    "values": {"first": ["one"], "second": ["two", "three"]},
    "otherwise": "other",
}


def label(ident: str, **fields: Any) -> dict[str, Any]:
    whole = {"id": ident, "name": ident, "definition": "A rule.", "examples": ["One.", "Two."]}
    return whole | fields


def content(**fields: Any) -> dict[str, Any]:
    book = {"version": "1.0", "labels": [label("trade"), label("energy")]}
    return book | {"attributes": [TIER, FORMULA]} | fields


def write(folder: Path, book: object) -> Path:
    path = folder / "codebook.yaml"
    path.write_text(yaml.safe_dump(book, sort_keys=False), encoding="utf-8")
    return path


def test_reads_labels_in_order(tmp_path: Path) -> None:
    book = load_codebook(write(tmp_path, content()))
    assert book.version == "1.0"
    assert book.ids == ("trade", "energy")
    assert book.labels[0].model_dump() == {
        "id": "trade",
        "name": "trade",
        "definition": "A rule.",
        "include": (),
        "exclude": (),
        "examples": ("One.", "Two."),
    }


def test_attributes_are_told_apart_by_kind(tmp_path: Path) -> None:
    grade, formula = load_codebook(write(tmp_path, content())).attributes
    assert isinstance(grade, GradeAttribute)
    assert grade.words == {"strategic": "strategic", "cooperation": "cooperative"}
    assert isinstance(formula, FormulaAttribute)
    assert formula.values == {"first": ("one",), "second": ("two", "three")}


def test_rules_and_attributes_may_be_absent() -> None:
    book = Codebook.model_validate({"version": "2", "labels": [label("trade")]})
    assert (book.rules, book.attributes) == ((), ())


def test_hash_is_of_the_content_not_the_layout(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    first = load_codebook(path).hash
    path.write_text(
        "# a comment\n" + yaml.safe_dump(content(), sort_keys=False, default_flow_style=True),
        encoding="utf-8",
    )
    assert load_codebook(path).hash == first
    assert re.fullmatch("[0-9a-f]{64}", first)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.1"},
        {"rules": ["The unit is one sentence."]},
        {"labels": [label("energy"), label("trade")]},
        {"labels": [label("trade", definition="Another rule."), label("energy")]},
        {"attributes": [TIER]},
    ],
    ids=["version", "rules", "order", "definition", "attributes"],
)
def test_hash_changes_with_the_content(change: dict[str, Any]) -> None:
    first = Codebook.model_validate(content()).hash
    assert Codebook.model_validate(content(**change)).hash != first


def test_missing_file_names_the_next_step(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.yaml"
    message = (
        f"{path} is not there. Run in a clone, or name the folder that holds it with --labels."
    )
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        load_codebook(path)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b"labels: [", "while parsing a flow node"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte 0xff in position 0"),
        (b"version: \x00", "unacceptable character #x0000"),
    ],
    ids=["unclosed", "not UTF-8", "control character"],
)
def test_what_is_not_yaml_is_refused(tmp_path: Path, raw: bytes, fault: str) -> None:
    path = tmp_path / "codebook.yaml"
    path.write_bytes(raw)
    with pytest.raises(InvalidData, match=f"^{re.escape(f'{path} is not YAML: {fault}')}"):
        load_codebook(path)


@pytest.mark.parametrize(
    ("book", "fields"),
    [
        (None, [""]),
        (["trade"], [""]),
        ({"labels": [label("trade")]}, ["version"]),
        ({"version": "1.0"}, ["labels"]),
        (content(labels=[]), ["labels"]),
        (content(colour="red"), ["colour"]),
        (content(labels=[label("Trade"), label("energy")]), ["labels.0.id"]),
        (content(labels=[label("1trade"), label("energy")]), ["labels.0.id"]),
        (content(labels=[label("trade", name=""), label("energy")]), ["labels.0.name"]),
        (
            content(labels=[label("trade", examples=["One."]), label("energy")]),
            ["labels.0.examples"],
        ),
        (content(labels=[label("trade", threshold=0.5), label("energy")]), ["labels.0.threshold"]),
        (content(attributes=[TIER | {"kind": "number"}]), ["attributes.0"]),
        (content(attributes=[TIER | {"id": "grade"}]), ["attributes.0.grade.id"]),
        (content(attributes=[TIER | {"values": {}}]), ["attributes.0.grade.values"]),
        (
            content(version=1.0, labels=[label("trade"), label("no", definition="", name="")], a=1),
            ["version", "labels.1.name", "labels.1.definition", "a"],
        ),
    ],
)
def test_every_fault_of_the_schema_is_named(
    tmp_path: Path, book: object, fields: list[str]
) -> None:
    path = write(tmp_path, book)
    with pytest.raises(InvalidData, match="breaks the codebook's schema") as caught:
        load_codebook(path)
    first, *faults = caught.value.message.split("\n")
    assert first == f"{path} breaks the codebook's schema:"
    assert [fault.strip().split(": ")[0].removesuffix(":") for fault in faults] == [
        field.strip() for field in fields
    ]


def test_repeated_label_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, content(labels=[label("trade"), label("energy"), label("trade")]))
    message = f"{path}: a label id stands twice. Give each label an id of its own."
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        load_codebook(path)


def test_attribute_of_an_unknown_label_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, content(attributes=[TIER | {"label": "culture"}]))
    message = f"{path}: attribute tier belongs to label 'culture', which is not in the codebook."
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        load_codebook(path)


def test_a_codebook_cannot_be_changed() -> None:
    book = Codebook.model_validate(content())
    with pytest.raises(ValueError, match="Instance is frozen"):
        book.version = "2.0"


@pytest.mark.parametrize(
    "value",
    [
        "unspecified",
        "strategic partnership",
        "strategic cooperative partnership",
        "strategic partnership of coordination",
    ],
)
def test_known_grades(value: str) -> None:
    assert GradeAttribute.model_validate(TIER).unknown_values(value) == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "strategic",
        "strategic partners",
        "Strategic partnership",
        "firm partnership",
        "strategic firm partnership",
        "cooperation partnership",
        "coordination",
        "strategic partnership of trade",
        "strategic partnership of partnership",
        "strategic partnership of coordination and trade",
        "strategic partnership partnership",
    ],
)
def test_unknown_grades(value: str) -> None:
    assert GradeAttribute.model_validate(TIER).unknown_values(value) == [value]


@pytest.mark.parametrize(
    ("value", "unknown"),
    [
        (("first",), []),
        (("second", "first", "other"), []),
        ((), []),
        (("third",), ["third"]),
        (("first", "third", "First"), ["third", "First"]),
    ],
)
def test_formula_values(value: tuple[str, ...], unknown: list[str]) -> None:
    assert FormulaAttribute.model_validate(FORMULA).unknown_values(value) == unknown


def test_committed_codebook_is_whole() -> None:
    book = load_codebook(COMMITTED)
    assert book.version == "1.0"
    assert len(book.ids) == 18
    assert {item.id: item.label for item in book.attributes} == {
        "tier": "partnership_tier",
        "taiwan_formula": "taiwan_one_china",
    }
    for attribute in book.attributes:
        if isinstance(attribute, FormulaAttribute):
            for patterns in attribute.values.values():
                assert [re.compile(pattern).pattern for pattern in patterns] == list(patterns)
