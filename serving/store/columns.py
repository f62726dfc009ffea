"""Annotations in columns: Parquet and `datasets`."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diplophrase.annotations import Annotation
from diplophrase.errors import DiplophraseError, InvalidData, MissingExtra

FIELDS = tuple(Annotation.model_fields)


def _require(package: str, extra: str, kind: str) -> None:
    if find_spec(package) is None:
        raise MissingExtra(f"the format {kind}", extra, package)


def _schema() -> Any:
    import pyarrow as pa

    span = pa.struct([("label", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
    source = [("doc", pa.string()), *((name, pa.int64()) for name in ("sentence", "start", "end"))]
    special = {
        "labels": pa.list_(pa.string()),
        "evidence": pa.list_(span),
        "taiwan_formula": pa.list_(pa.string()),
        "source": pa.struct(source),
    }
    return pa.schema([(name, special.get(name, pa.string())) for name in FIELDS])


def _typed(note: Annotation) -> dict[str, Any]:
    row = note.model_dump(mode="json")
    row["evidence"] = [
        {"label": label, "start": start, "end": end}
        for label, (start, end) in note.evidence.items()
    ]
    return row


def dump_parquet(annotations: Sequence[Annotation]) -> bytes:
    """Return annotations as a Parquet file.

    Raises:
        MissingExtra: without pyarrow.
    """
    _require("pyarrow", "score", "parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist([_typed(note) for note in annotations], schema=_schema())
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def read_parquet(path: Path) -> list[tuple[int, object]]:
    """Return the rows of a Parquet file, numbered from 1.

    Raises:
        InvalidData: if it is no Parquet.
        MissingExtra: without pyarrow.
    """
    _require("pyarrow", "score", "parquet")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise InvalidData(f"{path} is not Parquet: {str(error).partition('. ')[0]}.") from None
    rows: list[tuple[int, object]] = []
    for index, found in enumerate(table.to_pylist(), 1):
        row = {name: value for name, value in found.items() if value is not None}
        if isinstance(spans := row.get("evidence"), list):
            with suppress(KeyError, TypeError):  # the schema says what is wrong with it
                row["evidence"] = {item["label"]: [item["start"], item["end"]] for item in spans}
        if isinstance(source := row.get("source"), dict):
            row["source"] = {name: value for name, value in source.items() if value is not None}
        rows.append((index, row))
    return rows


def save_dataset(annotations: Sequence[Annotation], path: Path) -> None:
    """Write the folder that `datasets.load_from_disk` reads, in one step.

    Raises:
        DiplophraseError: `storage` if it cannot be written, or is there already.
        MissingExtra: without datasets.
    """
    _require("datasets", "train", "datasets")
    from datasets import Dataset, Features

    if path.exists():
        raise DiplophraseError(
            f"{path} is there already. Name a folder that is not.", kind="storage"
        )
    columns = {name: [_typed(note)[name] for note in annotations] for name in FIELDS}
    dataset = Dataset.from_dict(columns, features=Features.from_arrow_schema(_schema()))
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            dataset.save_to_disk(scratch / "data")
            (scratch / "data").rename(path)
        finally:
            shutil.rmtree(scratch)
    except OSError as error:
        raise DiplophraseError(
            f"{path} cannot be written: {error.strerror}. Name a folder inside one that is there "
            f"and may be written.",
            kind="storage",
        ) from error
