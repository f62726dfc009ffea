"""The codebook: which labels there are, what they mean, and the attributes beside them.

`labels/codebook.yaml` is ours. Labels of a user's own stand beside it, one file each, in
`labels/own/`; they are read as one codebook whose version names them: `1.0+climate`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.errors import InvalidData

OWN_FOLDER = "own"
LABEL_ID = r"^[a-z][a-z0-9_]*$"
_OWN_MARK = "+"  # between our version and the names of a user's labels


class Label(BaseModel):
    """One label: its id in data, its name for people, and the rule that gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=LABEL_ID)
    name: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    examples: Annotated[tuple[str, ...], Field(min_length=2)]

    @property
    def meaning(self) -> str:
        """The label in a sentence: its name and definition."""
        return f"{self.name}: {self.definition}"


class OwnLabel(Label):
    """A label of a user's own, which may do without examples."""

    examples: tuple[str, ...] = ()


class GradeAttribute(BaseModel):
    """An attribute that holds a grade: words in the order named, then a noun."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Literal["tier"]
    kind: Literal["grade"]
    label: str
    rule: str
    words: dict[str, str]  # a word as written -> its canonical form
    nouns: tuple[str, ...]
    canonical_noun: str
    tails: tuple[str, ...]  # "of X" tails that belong to the grade
    unspecified: str

    def unknown_values(self, value: str) -> list[str]:
        """Return `value` in a list where it is not a canonical grade."""
        words = "|".join(re.escape(word) for word in self.words.values())
        tails = "|".join(re.escape(tail) for tail in self.tails)
        grade = rf"(?:(?:{words}) )*{self.canonical_noun}(?: of (?:{tails}))?"
        canonical = value == self.unspecified or re.fullmatch(grade, value)
        return [] if canonical else [value]


class FormulaAttribute(BaseModel):
    """An attribute that holds a set of values, each found by patterns in the sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Literal["taiwan_formula"]
    kind: Literal["formula"]
    label: str
    rule: str
    values: dict[str, tuple[str, ...]]  # value -> regular expressions, any of which gives it
    otherwise: str

    def unknown_values(self, value: tuple[str, ...]) -> list[str]:
        """Return the members of `value` that the codebook does not have."""
        known = {*self.values, self.otherwise}
        return [name for name in value if name not in known]


Attribute = Annotated[GradeAttribute | FormulaAttribute, Field(discriminator="kind")]


class Codebook(BaseModel):
    """All labels in their fixed order, with the attributes recorded beside them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    rules: tuple[str, ...] = ()
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    attributes: tuple[Attribute, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(label.id for label in self.labels)

    @property
    def own(self) -> tuple[str, ...]:
        """Return the ids of the labels of a user's own."""
        return tuple(label.id for label in self.labels if isinstance(label, OwnLabel))

    def knew(self, version: str, label: str) -> bool:
        """Tell whether the codebook had `label` when it was at `version`.

        It always had ours; one of a user's own it had if the version names it.
        """
        return label not in self.own or label in own_labels_in(version)

    def only(self, labels: Sequence[str]) -> Codebook:
        """Return the codebook with these of its labels alone, in the order given."""
        held = {label.id: label for label in self.labels}
        return self.model_copy(update={"labels": tuple(held[label] for label in labels)})

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of the codebook's content, whatever its layout in the file."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def own_labels_in(version: str) -> frozenset[str]:
    """Return the labels of a user's own that a codebook's version names: climate in 1.0+climate."""
    return frozenset(version.split(_OWN_MARK)[1:])


def load_codebook(path: str | Path) -> Codebook:
    """Read a codebook from YAML, with the labels of a user's own in the folder `own` beside it.

    Raises:
        InvalidData: if a file is missing, is not YAML, or breaks the schema; every fault named.
    """
    path = Path(path)
    try:
        codebook = Codebook.model_validate(_read_yaml(path))
    except FileNotFoundError:
        raise InvalidData(
            f"{path} is not there. Run in a clone, or name the folder that holds it with --labels."
        ) from None
    except ValidationError as error:
        raise InvalidData(f"{path} breaks the codebook's schema:\n{_list_faults(error)}") from None
    if len(set(codebook.ids)) != len(codebook.ids):
        raise InvalidData(f"{path}: a label id stands twice. Give each label an id of its own.")
    for attribute in codebook.attributes:
        if attribute.label not in codebook.ids:
            raise InvalidData(
                f"{path}: attribute {attribute.id} belongs to label {attribute.label!r}, "
                f"which is not in the codebook."
            )
    return _add_own(codebook, own_files(path))


def own_files(path: str | Path) -> list[Path]:
    """Return the files of the user's own labels that are read with the codebook at `path`."""
    return sorted((Path(path).parent / OWN_FOLDER).glob("*.yaml"))


def _add_own(codebook: Codebook, files: Sequence[Path]) -> Codebook:
    """Return the codebook with the labels in `files`.

    Raises:
        InvalidData: naming every fault of every file.
    """
    found: list[OwnLabel] = []
    faults: list[str] = []
    for file in files:
        try:
            label = OwnLabel.model_validate(_read_yaml(file))
        except InvalidData as error:
            faults.append(error.message)
        except ValidationError as error:
            faults.append(f"{file} is no label:\n{_list_faults(error)}")
        else:
            found.append(label)
            if label.id != file.stem:
                faults.append(f"{file} holds the label {label.id!r}. A file is named as its label.")
            if label.id in codebook.ids:
                faults.append(f"{file}: the codebook has a label {label.id!r}. Choose another id.")
    if faults:
        raise InvalidData("\n".join([*faults, "Mend or take away these files."]))
    if not found:
        return codebook
    return Codebook(
        version=_OWN_MARK.join([codebook.version, *[label.id for label in found]]),
        rules=codebook.rules,
        labels=(*codebook.labels, *found),
        attributes=codebook.attributes,
    )


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidData(f"{path} is not YAML: {error}") from None


def _list_faults(error: ValidationError) -> str:
    return "\n".join(
        f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    )
