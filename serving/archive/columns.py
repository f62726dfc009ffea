"""The input's own columns in the output: their names, and their types in tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from serving.archive.parts import Part
from serving.archive.records import NOT_A_ROW, BadRow, Row

_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # integers that a double holds
_JSON = pa.string()


@dataclass(frozen=True)
class Columns:
    """The columns that are kept, under the names that they have in the output.

    JSON lines out need none of this, as each row there may have keys of its own: `types` is None.
    """

    types: Mapping[str, pa.DataType] | None
    loose: frozenset[str]  # columns of mixed values, written as JSON text
    taken: frozenset[str]  # names of the columns that scoring adds

    def named(self, column: str, others: Collection[str]) -> str:
        """Return the output's name for `column`: `input_` before what scoring itself writes.

        `others` are the input's columns, none of whose names may come to stand twice.
        """
        name = column
        while name in self.taken or (name != column and name in others):
            name = f"input_{name}"
        return name

    def check(self, row: Row) -> Row | BadRow:
        """Return the row, or why a table of these columns cannot hold it."""
        if self.types is None:
            return row
        for name, value in row.columns.items():
            if name not in self.types:
                found = "a column that the rows before did not have; JSON lines could hold it"
                return BadRow(row.source, row.line, name, NOT_A_ROW, found, row.progress)
            if name not in self.loose and not _fits(value, self.types[name]):
                found = f"{type(value).__name__} in a column of {self.types[name]}"
                return BadRow(row.source, row.line, name, NOT_A_ROW, found, row.progress)
        return row

    def values(self, row: Row, *, without: Sequence[str] = ()) -> dict[str, Any]:
        """Return the row's own columns as they are written."""
        return {
            self.named(name, row.columns): as_json(value) if name in self.loose else value
            for name, value in row.columns.items()
            if name not in without
        }

    def fields(self, *, without: Sequence[str] = ()) -> list[pa.Field]:
        """Return the columns of a table."""
        types = self.types or {}
        kept = [(name, kind) for name, kind in types.items() if name not in without]
        return [pa.field(self.named(name, types), kind) for name, kind in kept]


def as_json(value: Any) -> str | None:
    """Return text as it is and anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def choose_columns(
    declared: Mapping[str, pa.DataType], first: Part | None, *, table: bool, taken: frozenset[str]
) -> Columns:
    """Return the columns to keep: those that the files declare and those of the first part."""
    if not table:
        return Columns(None, frozenset(), taken)
    seen: dict[str, list[Any]] = {}
    for row in first.rows if first else []:
        for name, value in row.columns.items():
            if name not in declared:
                seen.setdefault(name, []).append(value)
    types, loose = dict(declared), set()
    for name, values in seen.items():
        kind = _kind_of(values)
        types[name] = kind or _JSON
        if kind is None:
            loose.add(name)
    return Columns(types, frozenset(loose), taken)


def _kind_of(values: Sequence[Any]) -> pa.DataType | None:
    """Return the one type of all values, or None where they are mixed or nested."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int} and all(value is None or value in _INT64 for value in values):
        return pa.int64()
    if kinds in ({float}, {int, float}) and all(_fits(value, pa.float64()) for value in values):
        return pa.float64()
    return None


def _fits(value: Any, kind: pa.DataType) -> bool:
    if value is None:
        return True
    if kind == pa.string():
        return isinstance(value, str)
    if kind == pa.bool_():
        return isinstance(value, bool)
    if kind == pa.int64():
        return type(value) is int and value in _INT64
    if kind == pa.float64():
        return type(value) is float or (type(value) is int and value in _EXACT)
    return True  # a type that only Parquet declares, and there each value has it
