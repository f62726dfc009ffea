"""Parquet in: row groups in small batches, strings decoded one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from diplophrase.errors import InvalidData
from serving.archive.lines import Raw, decoded

_BATCH_ROWS = 512
_BUFFER_BYTES = 1 << 20


def open_parquet(file: BinaryIO, name: str) -> pq.ParquetFile:
    """Open a Parquet file without reading its columns.

    Raises:
        InvalidData: if it is not one.
    """
    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except pa.ArrowException as error:
        raise InvalidData(f"{name} is not a Parquet file: {error}. Make it again.") from None


def read_parquet(file: BinaryIO, name: str) -> Iterator[tuple[float, Raw]]:
    """Yield each row with the share of the file read so far; a row's number is its line.

    Raises:
        InvalidData: if the file is damaged.
    """
    table = open_parquet(file, name)
    total, number = max(table.metadata.num_rows, 1), 0
    try:
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            columns = {field.name: _values(batch.column(field.name)) for field in batch.schema}
            for row in range(batch.num_rows):
                number += 1
                yield number / total, (number, {key: col[row] for key, col in columns.items()})
    except (pa.ArrowException, OSError) as error:
        raise InvalidData(
            f"{name} is damaged after row {number}: {error}. Make the file again."
        ) from None


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else decoded(value) for value in raw]
    values: list[Any] = column.to_pylist()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [None if value is None else decoded(value) for value in values]
    return values
