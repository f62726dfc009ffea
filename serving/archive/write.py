"""Rows out: JSON lines, CSV or Parquet, the same bytes for the same rows every time."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

Rows = Sequence[dict[str, Any]]
_JOINED = pa.list_(pa.string())


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside `path` and rename it into place, so that `path` is whole or not there."""
    scratch = path.with_name(path.name + ".new")
    with scratch.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_part(path: Path, rows: Rows, schema: pa.Schema | None, kind: str) -> None:
    """Write the rows of one part; `schema` is None for JSON lines."""
    if schema is None:
        write_whole(path, lambda file: _write_lines(file, rows))
        return
    table = pa.Table.from_pylist(list(rows), schema=schema)
    if kind == "parquet":
        write_whole(path, lambda file: pq.write_table(table, file, **_PARQUET))
    else:
        write_whole(path, lambda file: _write_csv(file, table, header=False))


_PARQUET: dict[str, Any] = {"compression": "zstd", "version": "2.6", "store_schema": True}


def join_parts(path: Path, parts: Sequence[Path], schema: pa.Schema | None, kind: str) -> None:
    """Write the whole file from its parts, one part in memory at a time."""
    if kind == "parquet" and schema is not None:
        write_whole(path, lambda file: _join_tables(file, parts, schema))
    elif schema is not None:
        empty = schema.empty_table()
        write_whole(path, lambda file: _append(file, parts, _header(empty)))
    else:
        write_whole(path, lambda file: _append(file, parts, b""))


def _append(file: BinaryIO, parts: Sequence[Path], header: bytes) -> None:
    file.write(header)
    for part in parts:
        with part.open("rb") as content:
            shutil.copyfileobj(content, file, 1 << 20)


def _join_tables(file: BinaryIO, parts: Sequence[Path], schema: pa.Schema) -> None:
    with pq.ParquetWriter(file, schema, **_PARQUET) as writer:
        for part in parts:
            if (table := pq.read_table(part, schema=schema, use_threads=False)).num_rows:
                writer.write_table(table)


def _write_lines(file: BinaryIO, rows: Rows) -> None:
    for row in rows:
        file.write(line_of(row).encode("utf-8") + b"\n")


def line_of(row: dict[str, Any]) -> str:
    """Return a row as one line of JSON."""
    return json.dumps(row, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return str(value)


def _header(empty: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa.csv.write_csv(_flat(empty), sink, pa.csv.WriteOptions(quoting_style="needed"))
    return bytes(sink.getvalue())


def _write_csv(file: BinaryIO, table: pa.Table, *, header: bool) -> None:
    options = pa.csv.WriteOptions(include_header=header, quoting_style="needed")
    pa.csv.write_csv(_flat(table), file, options)


def _flat(table: pa.Table) -> pa.Table:
    """Return the table with lists of words joined by `|` and anything nested as JSON."""
    columns = {}
    for field in table.schema:
        column = table.column(field.name)
        if pa.types.is_nested(field.type):
            cells = [_cell(value, field.type) for value in column.to_pylist()]
            column = pa.array(cells, pa.string())
        columns[field.name] = column
    return pa.table(columns)


def _cell(value: Any, kind: pa.DataType) -> str | None:
    if value is None:
        return None
    if kind == _JOINED and not any("|" in (word or "") for word in value):
        return "|".join(word or "" for word in value)
    return line_of(value)
