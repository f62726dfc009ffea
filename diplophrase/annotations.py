"""The schema of a hand label; reading, checking and writing files of them."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.codebook import Codebook
from diplophrase.errors import Detail, InvalidData
from diplophrase.files import write_whole

Speaker = Literal["china", "counterpart", "joint", "third", "none"]
SPEAKERS: tuple[Speaker, ...] = ("china", "counterpart", "joint", "third", "none")


class Source(BaseModel):
    """Where a sentence stands: document, number of the sentence, and its offsets there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    doc: str
    sentence: int | None = None
    start: int | None = None
    end: int | None = None


class Annotation(BaseModel):
    """One sentence with its hand labels; offsets count Unicode code points of `text`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    labels: tuple[str, ...]
    evidence: dict[str, tuple[int, int]]
    speaker: Speaker
    tier: str | None = None
    taiwan_formula: tuple[str, ...] | None = None
    source: Source | None = None
    annotator: str = ""
    provenance: Literal["seed", "authored", "added"] = "added"
    codebook: str = ""
    created: str = ""
    note: str | None = None

    def to_json(self) -> str:
        """Return the annotation as one line of JSON without the fields that do not apply."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Located:
    """An annotation and where it was read."""

    annotation: Annotation
    path: str
    line: int


def read_annotations(path: str | Path) -> list[Annotation]:
    """Read a file of annotations, a JSON object a line; labels are not checked here.

    Raises:
        InvalidData: naming every line that is not an annotation, with its rule.
    """
    return [located.annotation for located in _read_located(Path(path))]


def _read_located(path: Path) -> list[Located]:
    if not path.is_file():
        raise InvalidData(
            f"{path} is not there. Give the path of a file of annotations, one JSON object a line."
        )
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None
    found: list[Located] = []
    details: list[Detail] = []
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(Located(Annotation.model_validate_json(line), path.name, number))
        except ValidationError as error:
            details += [
                Detail(
                    field=".".join(str(part) for part in fault["loc"]) or "line",
                    index=number,
                    found=repr(fault["input"])[:80],
                    rule=fault["msg"],
                )
                for fault in error.errors()
            ]
    _raise_faults(path.name, details)
    return found


def _raise_faults(where: str, details: list[Detail]) -> None:
    if details:
        lines = "\n".join(
            f"  line {fault.index}, {fault.field}: found {fault.found}; {fault.rule}"
            for fault in details
        )
        raise InvalidData(
            f"{where}: {len(details)} fault(s).\n{lines}\nMend these lines, then check again.",
            details=details,
        )


def check_annotations(
    path: str | Path, codebook: Codebook, *, record: bool = False
) -> list[Annotation]:
    """Read a file and hold every annotation against the codebook.

    A `record` is one annotator's pass kept as it was made: it may contradict itself.

    Checked: schema, unique ids, known labels, one evidence span inside the text per label,
    attributes given exactly where their label is, and that the same text never carries two
    different label sets.

    Raises:
        InvalidData: naming every fault by line, field, what was found and the rule.
    """
    path = Path(path)
    located = _read_located(path)
    details = [
        fault for item in located for fault in find_faults(item.annotation, codebook, item.line)
    ]
    details += _repeated_ids(located)
    if codebook.own:
        details += _unnamed_codebooks(located, codebook)
    if not record:
        details += _contradictions(located)
    _raise_faults(path.name, sorted(details, key=lambda fault: fault.index or 0))
    return [item.annotation for item in located]


def find_faults(note: Annotation, codebook: Codebook, line: int) -> Iterator[Detail]:
    """Yield what is wrong with one annotation; `line` is the index that each fault carries."""
    known = set(codebook.ids)
    for label in note.labels:
        if label not in known:
            rule = f"labels are those of the codebook: {', '.join(codebook.ids)}"
            yield Detail("labels", label, rule, line)
    if len(set(note.labels)) != len(note.labels):
        yield Detail("labels", str(list(note.labels)), "each label at most once", line)
    if set(note.evidence) != set(note.labels):
        found = f"labels {sorted(note.labels)}, evidence for {sorted(note.evidence)}"
        yield Detail("evidence", found, "one span for each label and none besides", line)
    for label, (start, end) in note.evidence.items():
        if not 0 <= start < end <= len(note.text):
            rule = f"0 <= start < end <= {len(note.text)}, the length of the text"
            yield Detail(f"evidence.{label}", f"[{start}, {end}]", rule, line)
    for attribute in codebook.attributes:
        value = getattr(note, attribute.id)
        if (value is not None) != (attribute.label in note.labels):
            rule = f"{attribute.id} is given exactly where {attribute.label} is"
            yield Detail(attribute.id, str(value), rule, line)
        if value is not None and (wrong := attribute.unknown_values(value)):
            yield Detail(attribute.id, ", ".join(wrong), attribute.rule, line)


def _unnamed_codebooks(located: Iterable[Located], codebook: Codebook) -> Iterator[Detail]:
    """Yield the annotations that leave open whether a label of a user's own was looked for."""
    rule = f"beside labels of your own it names the version labelled by, as {codebook.version}"
    for item in located:
        if not item.annotation.codebook:
            yield Detail("codebook", "''", rule, item.line)


def _repeated_ids(located: Iterable[Located]) -> Iterator[Detail]:
    first: dict[str, int] = {}
    for item in located:
        line = first.setdefault(item.annotation.id, item.line)
        if line != item.line:
            yield Detail("id", item.annotation.id, f"unique; line {line} has it too", item.line)


def _contradictions(located: Iterable[Located]) -> Iterator[Detail]:
    first: dict[str, Located] = {}
    for item in located:
        other = first.setdefault(item.annotation.text, item)
        if set(other.annotation.labels) != set(item.annotation.labels):
            found = f"{sorted(item.annotation.labels)} for {item.annotation.text[:40]!r}"
            rule = (
                f"the same text carries the same labels; line {other.line} has "
                f"{sorted(other.annotation.labels)}"
            )
            yield Detail("labels", found, rule, item.line)


def text_key(text: str) -> str:
    """Return what two spellings of one text share: the sha256 without regard to white space.

    Unicode's composed and decomposed forms count as the same too (NFC).
    """
    folded = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(folded.encode()).hexdigest()


def data_hash(annotations: Sequence[Annotation]) -> str:
    """Return the sha256 of what is learnt from: ids, texts, labels, evidence and attributes."""
    digest = hashlib.sha256()
    for annotation in sorted(annotations, key=lambda item: item.id):
        digest.update(annotation.model_dump_json(exclude={"created", "annotator", "note"}).encode())
    return digest.hexdigest()


def write_annotations(path: str | Path, annotations: Iterable[Annotation]) -> None:
    """Write a file of annotations sorted by id, in one step: whole, or as it was before.

    Raises:
        DiplophraseError: `storage` if it cannot be written.
    """
    rows = sorted(annotations, key=lambda item: item.id)
    write_whole(Path(path), "".join(f"{row.to_json()}\n" for row in rows).encode())
