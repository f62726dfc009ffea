"""What is read: rows that can be scored, and bad rows with the reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

NOT_TEXT = "not text"
UNDECODABLE = "undecodable bytes"
EMPTY = "empty"
OVER_LIMIT = "over the limit"
NOT_A_ROW = "not a row"

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Row:
    """A row with a text; `columns` are all its columns by name, the text's own among them."""

    source: str
    line: int
    text: str
    columns: dict[str, Any]
    progress: float = field(default=0.0, compare=False)  # share of all input bytes read, 0 to 1


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be scored: where it is, why, and what was found."""

    source: str
    line: int
    column: str | None
    reason: str
    found: str
    progress: float = field(default=0.0, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the line that stands in OUT.rejected.jsonl."""
        return {
            "input": self.source,
            "line": self.line,
            "column": self.column,
            "reason": self.reason,
            "found": self.found,
        }

    @property
    def message(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        return f"{self.source}, line {self.line}{column}: {self.reason} ({self.found})"


def fault_of(value: object, max_characters: int) -> tuple[str, str] | None:
    """Return the reason why `value` is no text to score and what was found, or None."""
    if isinstance(value, bytes):
        return UNDECODABLE, f"{len(value)} bytes that are not UTF-8"
    if value is None:
        return EMPTY, "no value"
    if not isinstance(value, str):
        return NOT_TEXT, f"{type(value).__name__} {value!r:.40}"
    if len(value) > max_characters:
        return OVER_LIMIT, f"{len(value)} characters, {max_characters} are allowed"
    if not value.strip():
        return EMPTY, f"{len(value)} blank characters"
    if half := _SURROGATE.search(value):
        return UNDECODABLE, f"half of a surrogate pair at character {half.start()}"
    return None


def has_halves(value: object) -> bool:
    """Tell whether a string, or one within lists and objects, cannot be written as UTF-8."""
    if isinstance(value, str):
        return _SURROGATE.search(value) is not None
    if isinstance(value, dict):
        return any(has_halves(key) or has_halves(item) for key, item in value.items())
    if isinstance(value, list):
        return any(has_halves(item) for item in value)
    return False
