"""Files of lines and of delimited rows, read in bounded memory, a bad row told from a good one."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa

from diplophrase.errors import InvalidData
from serving.archive.records import (
    NOT_A_ROW,
    OVER_LIMIT,
    UNDECODABLE,
    BadRow,
    Row,
    fault_of,
    has_halves,
)

MAX_LINE_BYTES = 16 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"

Line = tuple[int, bytes | None]  # its number from 1; None where it is longer than allowed
Raw = tuple[int, dict[str, Any]] | BadRow


@contextmanager
def unpacked(file: BinaryIO, packing: str | None, name: str) -> Iterator[BinaryIO]:
    """Give `file` unpacked.

    Raises:
        InvalidData: if it is not packed so, or ends too early.
    """
    try:
        if packing == "gzip":
            with gzip.GzipFile(fileobj=file) as opened:
                yield io.BufferedReader(opened)
        elif packing == "zstd":
            stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
            yield io.BufferedReader(stream)
        else:
            yield file
    except (EOFError, OSError, zlib.error, pa.ArrowException) as error:
        if packing is None:
            raise
        raise InvalidData(
            f"{name} cannot be read to its end: {error}. Fetch or make the file again."
        ) from None


def read_lines(file: BinaryIO, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Yield each line without its end; of a line over `max_bytes` no more than that is held."""
    number = 0
    while piece := file.readline(max_bytes + 1):
        number += 1
        if number == 1:
            piece = piece.removeprefix(_BOM)
        if len(piece) > max_bytes and not piece.endswith(b"\n"):
            while piece and not piece.endswith(b"\n"):
                piece = file.readline(max_bytes)
            yield number, None
            continue
        yield number, piece.removesuffix(b"\n").removesuffix(b"\r")


def _too_long(name: str, line: int) -> BadRow:
    return BadRow(name, line, None, OVER_LIMIT, f"a line of more than {MAX_LINE_BYTES} bytes")


def read_text(file: BinaryIO, name: str, column: str) -> Iterator[Raw]:
    """Yield each line that is not blank as a row of one column."""
    for number, line in read_lines(file):
        if line is None:
            yield _too_long(name, number)
        elif line.strip():
            yield number, {column: decoded(line)}


def read_document(file: BinaryIO, name: str, column: str, max_characters: int) -> Iterator[Raw]:
    """Yield the whole file as one row, its name in the column `document`."""
    content = file.read(4 * max_characters + len(_BOM) + 1).removeprefix(_BOM)
    if len(content) > 4 * max_characters:
        found = f"more than {4 * max_characters} bytes, {max_characters} characters are allowed"
        yield BadRow(name, 1, column, OVER_LIMIT, found)
        return
    yield 1, {"document": name, column: decoded(content)}


def read_jsonl(file: BinaryIO, name: str) -> Iterator[Raw]:
    """Yield each line's object; blank lines are passed over."""
    for number, line in read_lines(file):
        if line is None:
            yield _too_long(name, number)
        elif line.strip():
            yield _parse(name, number, line)


def _parse(name: str, number: int, line: bytes) -> Raw:
    text = decoded(line)
    if isinstance(text, bytes):
        return BadRow(name, number, None, UNDECODABLE, f"{len(line)} bytes that are not UTF-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return BadRow(name, number, None, NOT_A_ROW, f"not JSON: {error}")
    if not isinstance(value, dict):
        return BadRow(name, number, None, NOT_A_ROW, f"{type(value).__name__}, not a JSON object")
    return number, value


def decoded(content: bytes) -> str | bytes:
    """Return the text of UTF-8 bytes, or the bytes themselves where they are not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content


def header_of(file: BinaryIO, name: str, delimiter: str) -> list[str]:
    """Return the column names in the first row.

    Raises:
        InvalidData: if there is none, or a name stands twice.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    lines = (_escaped(line) for _, line in read_lines(file))
    header = next(csv.reader(lines, delimiter=delimiter), [])
    if not header:
        raise InvalidData(f"{name} has no header. Its first line must name the columns.")
    if len(set(header)) < len(header):
        twice = sorted({column for column in header if header.count(column) > 1})
        raise InvalidData(f"{name} names a column twice: {', '.join(twice)}. Rename one.")
    return header


def _escaped(line: bytes | None) -> str:
    return "" if line is None else line.decode("utf-8", "surrogateescape") + "\n"


def read_delimited(file: BinaryIO, name: str, delimiter: str) -> Iterator[Raw]:
    """Yield each row under its header's names; all values are text, as they stand.

    Python's reader and not pyarrow's: that one gives up a whole block for one bad row, and does
    not say on which line a row stood.
    """
    oversize: list[int] = []

    def lines() -> Iterator[str]:
        for number, line in read_lines(file):
            if line is None:
                oversize.append(number)
            yield _escaped(line) or "\n"

    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(lines(), delimiter=delimiter)
    header = next(reader, [])
    while True:
        start = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield BadRow(name, start, None, NOT_A_ROW, f"{error}")
            continue
        while oversize:
            yield _too_long(name, oversize.pop(0))
        if values is None:
            return
        if values:
            yield _named(name, start, header, values)


def _named(name: str, line: int, header: list[str], values: list[str]) -> Raw:
    if len(values) != len(header):
        found = f"{len(values)} values for {len(header)} columns"
        return BadRow(name, line, None, NOT_A_ROW, found)
    return line, {
        column: value if value.isascii() else decoded(value.encode("utf-8", "surrogateescape"))
        for column, value in zip(header, values, strict=True)
    }


def pick_text(name: str, raw: Raw, column: str, max_characters: int) -> Row | BadRow:
    """Return the row with its text, or the bad row with the reason."""
    if isinstance(raw, BadRow):
        return raw
    line, columns = raw
    if fault := fault_of(columns.get(column), max_characters):
        return BadRow(name, line, column, *fault)
    for other, value in columns.items():
        if isinstance(value, bytes) or has_halves(value) or has_halves(other):
            found = "bytes that are not UTF-8" if isinstance(value, bytes) else "half of a pair"
            return BadRow(name, line, other, UNDECODABLE, found)
    return Row(name, line, columns[column], columns)
