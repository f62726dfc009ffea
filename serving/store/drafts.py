"""What users hand in, and how it becomes annotations: every fault of every row in one answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from diplophrase.annotations import Annotation, Source, Speaker, find_faults, text_key
from diplophrase.codebook import Codebook
from diplophrase.errors import Detail
from diplophrase.visible import HALF_CHARACTER, is_blank

MAX_NAME = 200  # characters of an id, an annotator
MAX_NOTE = 2_000
_RULES = {
    "extra_forbidden": "this field is not known",
    "missing": "this field is required",
    "string_unicode": "must be Unicode text, without half of a surrogate pair",
}


def _check_span(value: object) -> object:
    whole = isinstance(value, list | tuple) and len(value) == 2
    numbers = whole and all(type(part) is int for part in value)  # type: ignore[attr-defined]
    if not numbers and not isinstance(value, str):
        raise PydanticCustomError("span", "must be [start, end], or the words as the text has them")
    return list(value) if isinstance(value, list | tuple) else value


Word = Annotated[str, Field(max_length=200)]
Span = Annotated[list[int] | str, BeforeValidator(_check_span)]


class Draft(BaseModel):
    """An annotation as it is handed in; what does not apply is left out."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    text: str = Field(description="the sentence")
    labels: list[Word] = Field(max_length=100, description="ids of the codebook; none is an answer")
    annotator: str = Field(min_length=1, max_length=MAX_NAME, description="who labelled it")
    evidence: dict[Word, Span] = Field(
        {}, description="for each label [start, end] in code points, or the words themselves"
    )
    speaker: Speaker = "none"
    tier: Word | None = None
    taiwan_formula: list[Word] | None = Field(None, max_length=100)
    note: str | None = Field(None, max_length=MAX_NOTE)
    source: Source | None = None
    model_version: str | None = Field(
        None, max_length=100, description="the model whose answer this corrects"
    )
    id: str | None = Field(None, min_length=1, max_length=MAX_NAME)
    provenance: Literal["seed", "authored", "added"] = Field(
        "added", description="whatever is given: what the store takes in is added"
    )
    codebook: str = Field("", max_length=100)
    created: str = Field("", max_length=40)


@dataclass(frozen=True, slots=True)
class Entry:
    """An annotation that passed every rule, with the index of its row, on its way in."""

    index: int
    annotation: Annotation
    key: str
    has_own_id: bool
    model_version: str | None = None


@dataclass(slots=True)
class Gathered:
    """What rows became: entries, and every fault with the index of its row."""

    entries: list[Entry] = field(default_factory=list)
    faults: list[Detail] = field(default_factory=list)


def default_id(key: str, annotator: str) -> str:
    """Return the id of an annotation that was given none: the same for a text and annotator."""
    return "added-" + hashlib.sha256(f"{key}\0{annotator}".encode()).hexdigest()[:16]


def read_draft(row: object) -> Draft | list[tuple[str, str, str]]:
    """Return the draft that `row` holds, or its faults as (field, found, rule)."""
    if isinstance(row, Draft):
        return row
    try:
        return Draft.model_validate(row)
    except ValidationError as error:
        return [_fault(fault) for fault in error.errors()]


def _fault(fault: Any) -> tuple[str, str, str]:
    place = ".".join(str(part) for part in fault["loc"])[:100] or "row"
    name = place.encode(errors="backslashreplace").decode()
    found = "nothing" if fault["type"] == "missing" else repr(fault["input"])[:60]
    return name, found, _RULES.get(fault["type"], fault["msg"])


def gather(
    rows: Sequence[tuple[int, object]],
    codebook: Codebook,
    *,
    max_characters: int,
    created: str,
) -> Gathered:
    """Hold each row, given with its index, against the schema and the codebook.

    Without `id` a row gets the one of its text and annotator; without `codebook` and `created` it
    gets those of today.
    """
    gathered = Gathered()
    for index, row in rows:
        draft = read_draft(row)
        if isinstance(draft, list):
            gathered.faults += [Detail(*fault, index) for fault in draft]
            continue
        faults = list(_text_faults(draft, index, max_characters))
        if not faults:
            annotation, faults = _complete(draft, index, codebook, created)
            if not faults:
                key = text_key(draft.text)
                entry = Entry(index, annotation, key, draft.id is not None, draft.model_version)
                gathered.entries.append(entry)
        gathered.faults += faults
    if not gathered.faults:
        gathered.faults += _repeated(gathered.entries)
    return gathered


def _text_faults(draft: Draft, index: int, max_characters: int) -> Iterator[Detail]:
    text = draft.text
    places = {"text": text, "source.doc": draft.source.doc if draft.source else ""}
    for name, value in places.items():  # pydantic sees to the strings of bounded length
        if half := HALF_CHARACTER.search(value):
            yield Detail(name, repr(half[0]), _RULES["string_unicode"], index)
    if is_blank(text):
        found = f"{len(text)} blank characters"
        yield Detail("text", found, "a text has a visible character", index)
    if "\0" in text:
        yield Detail("text", r"'\x00'", "a text has no NUL character", index)
    if len(text) > max_characters:
        rule = f"at most {max_characters} characters a text"
        yield Detail("text", f"{len(text)} characters", rule, index)
    for name in ("annotator", "id", "model_version"):
        value = getattr(draft, name)
        if value is not None and (not value.isprintable() or is_blank(value)):
            rule = "printable characters, one of them visible"
            yield Detail(name, repr(value)[:60], rule, index)


def _complete(
    draft: Draft, index: int, codebook: Codebook, created: str
) -> tuple[Annotation, list[Detail]]:
    faults: list[Detail] = []
    evidence: dict[str, tuple[int, int]] = {}
    for label, span in draft.evidence.items():
        found = _find_words(draft.text, span) if isinstance(span, str) else (span[0], span[1])
        if isinstance(found, str):
            faults.append(Detail(f"evidence.{label}", repr(span)[:60], found, index))
        evidence[label] = found if isinstance(found, tuple) else (0, 1)
    order = {label: place for place, label in enumerate(codebook.ids)}
    annotation = Annotation(
        id=draft.id or default_id(text_key(draft.text), draft.annotator),
        text=draft.text,
        labels=tuple(sorted(draft.labels, key=lambda label: order.get(label, len(order)))),
        evidence=dict(sorted(evidence.items(), key=lambda item: order.get(item[0], len(order)))),
        speaker=draft.speaker,
        tier=draft.tier or None,
        taiwan_formula=tuple(draft.taiwan_formula) if draft.taiwan_formula else None,
        source=draft.source,
        annotator=draft.annotator,
        provenance="added",
        codebook=draft.codebook or codebook.version,
        created=draft.created or created,
        note=draft.note or None,
    )
    return annotation, faults + list(find_faults(annotation, codebook, index))


def _find_words(text: str, words: str) -> tuple[int, int] | str:
    """Return where `words` stand, or the rule that they break."""
    count = text.count(words) if words else 0
    if count != 1:
        return f"the words stand in the text once, not {count} times; or give [start, end]"
    start = text.index(words)
    return start, start + len(words)


def _repeated(entries: Sequence[Entry]) -> Iterator[Detail]:
    texts: dict[tuple[str, str], int] = {}
    ids: dict[str, int] = {}
    for entry in entries:
        index, who = entry.index, entry.annotation.annotator
        first = texts.setdefault((entry.key, who), index)
        if first != index:
            rule = f"an annotator labels a text once; row {first} has it too"
            yield Detail("text", repr(entry.annotation.text)[:60], rule, index)
            continue
        first = ids.setdefault(entry.annotation.id, index)
        if first != index:
            rule = f"an id stands for one annotation; row {first} has it too"
            yield Detail("id", entry.annotation.id, rule, index)
