"""Everything that can be read becomes one stream of rows and bad rows."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, BinaryIO, Protocol

import pyarrow as pa

from diplophrase.errors import InvalidRequest
from serving.archive.lines import (
    Raw,
    header_of,
    pick_text,
    read_delimited,
    read_document,
    read_jsonl,
    read_text,
    unpacked,
)
from serving.archive.options import Options
from serving.archive.records import BadRow, Row
from serving.archive.sources import Source, fingerprint
from serving.archive.tables import open_parquet, read_parquet

DEFAULT_TEXT = "text"
_DELIMITERS = {"csv": ",", "tsv": "\t"}


class Input(Protocol):
    """What can be scored. `fingerprint` is None for what can only be read once."""

    def declared(self) -> dict[str, pa.DataType]:
        """Return the columns that are known before reading, with their types."""

    def rows(self) -> Iterator[Row | BadRow]:
        """Yield all rows in order."""

    def fingerprint(self) -> list[dict[str, str]] | None:
        """Return what tells this input from any other."""


@dataclass(frozen=True)
class Files:
    """Files of rows or documents."""

    sources: Sequence[Source]
    options: Options

    def declared(self) -> dict[str, pa.DataType]:
        found: dict[str, pa.DataType] = {}
        for source in self.sources:
            for name, kind in self._columns(source).items():
                if found.setdefault(name, kind) != kind:
                    raise InvalidRequest(
                        f"{source.name}: column {name!r} is {kind}, and {found[name]} in a file "
                        f"before it. Score files of different kinds apart."
                    )
        return found

    def _columns(self, source: Source) -> dict[str, pa.DataType]:
        """Return a file's declared columns; the columns asked for must be among them."""
        if source.format not in (*_DELIMITERS, "parquet"):
            return {}
        with source.open() as file:
            if source.format == "parquet":
                schema = open_parquet(file, source.name).schema_arrow
                columns = {each.name: _plain(each.type) for each in schema}
            else:
                with unpacked(file, source.packing, source.name) as content:
                    header = header_of(content, source.name, _DELIMITERS[source.format])
                columns = dict.fromkeys(header, pa.string())
        check_columns(source.name, list(columns), self.options)
        return columns

    def rows(self) -> Iterator[Row | BadRow]:
        total = sum(source.size for source in self.sources) or 1
        before = 0
        for source in self.sources:
            with source.open() as file:
                for share, row in self._read(source, file):
                    progress = min((before + share * source.size) / total, 1.0)
                    yield replace(row, progress=progress)
            before += source.size

    def _read(self, source: Source, file: BinaryIO) -> Iterator[tuple[float, Row | BadRow]]:
        column = self.options.text_column or DEFAULT_TEXT
        limit = self.options.max_characters
        if source.format == "parquet":
            for share, raw in read_parquet(file, source.name):
                yield share, pick_text(source.name, raw, column, limit)
            return
        with unpacked(file, source.packing, source.name) as content:
            for raw in parse(content, source.name, source.format, self.options):
                share = file.tell() / max(source.size, 1)
                yield share, pick_text(source.name, raw, column, limit)

    def fingerprint(self) -> list[dict[str, str]] | None:
        return [{"input": each.name, "content": fingerprint(each)} for each in self.sources]


@dataclass(frozen=True)
class Stdin:
    """What is piped in, one text a line unless the options say otherwise."""

    options: Options

    def declared(self) -> dict[str, pa.DataType]:
        return {}

    def rows(self) -> Iterator[Row | BadRow]:
        kind = self.options.input_format or "text"
        if kind == "parquet":
            raise InvalidRequest("Parquet is read from its end and cannot be piped. Name a file.")
        column = self.options.text_column or DEFAULT_TEXT
        for raw in parse(sys.stdin.buffer, "stdin", kind, self.options):
            yield pick_text("stdin", raw, column, self.options.max_characters)

    def fingerprint(self) -> list[dict[str, str]] | None:
        return None


@dataclass(frozen=True)
class Texts:
    """A column in memory: a list, a series, an Arrow array, any iterable of texts."""

    values: Iterable[Any]
    options: Options

    def declared(self) -> dict[str, pa.DataType]:
        return {}

    def rows(self) -> Iterator[Row | BadRow]:
        column = self.options.text_column or DEFAULT_TEXT
        for number, value in enumerate(self.values, 1):
            plain = value.as_py() if isinstance(value, pa.Scalar) else value
            if isinstance(plain, float) and plain != plain:  # how pandas says that there is none
                plain = None
            yield pick_text("texts", (number, {column: plain}), column, self.options.max_characters)

    def fingerprint(self) -> list[dict[str, str]] | None:
        return None


def parse(content: BinaryIO, name: str, kind: str, options: Options) -> Iterator[Raw]:
    """Yield the raw rows of an unpacked stream.

    Raises:
        InvalidRequest: if the columns asked for are not there; it lists those that are.
    """
    column = options.text_column or DEFAULT_TEXT
    if kind == "text":
        return read_text(content, name, column)
    if kind == "document":
        return read_document(content, name, column, options.max_characters)
    if kind == "jsonl":
        return _checked(read_jsonl(content, name), name, options)
    return _checked(read_delimited(content, name, _DELIMITERS[kind]), name, options)


def _checked(raws: Iterator[Raw], name: str, options: Options) -> Iterator[Raw]:
    """Pass rows on; the first good one must have the columns asked for."""
    for raw in raws:
        if not isinstance(raw, BadRow):
            check_columns(name, list(raw[1]), options)
            yield raw
            break
        yield raw
    yield from raws


def check_columns(name: str, columns: Sequence[str], options: Options) -> None:
    """Refuse a file without the text or id column; the message lists what there is."""
    for flag, column in (
        ("--text-column", options.text_column or DEFAULT_TEXT),
        ("--id-column", options.id_column),
    ):
        if column is not None and column not in columns:
            raise InvalidRequest(
                f"{name} has no column {column!r}; it has {', '.join(map(repr, columns))}. "
                f"Name one of them with {flag}."
            )


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is written: text is a string, however it was stored."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_text = (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    )
    return pa.string() if is_text else kind


def take(rows: Iterator[Row | BadRow], limit: int | None) -> Iterator[Row | BadRow]:
    """Yield at most `limit` rows, bad ones counted."""
    return rows if limit is None else islice(rows, limit)
