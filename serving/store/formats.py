"""Files of annotations: CSV, JSON lines, Parquet, `datasets`; each keeps every field.

What is read are rows with the index by which a person finds them: the row of a CSV or Parquet
file, its heading being row 1 of a CSV; the line of JSON lines; the task of Label Studio's JSON.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from diplophrase.annotations import Annotation
from diplophrase.errors import Detail, InvalidData
from diplophrase.files import write_whole
from serving.store.columns import FIELDS, dump_parquet, read_parquet, save_dataset
from serving.store.labelstudio import read_tasks, write_tasks

Format = Literal["csv", "jsonl", "parquet", "labelstudio", "datasets"]
Rows = list[tuple[int, object]]

_JSON_CELLS = ("evidence", "taiwan_formula", "source")  # CSV cells that hold JSON
_ENDINGS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}


def format_of(path: Path, chosen: str | None) -> Format:
    """Return the format that is asked for, or else that of the file's ending.

    Raises:
        InvalidData: if neither says which.
    """
    known = ("csv", "jsonl", "parquet", "labelstudio", "datasets")
    found = chosen or _ENDINGS.get(path.suffix, "")
    for name in known:
        if name == found:
            return name  # type: ignore[return-value]  # mypy does not narrow to the literal
    raise InvalidData(
        f"{path}: found {found or path.suffix or 'no ending'!r}; the formats are "
        f"{', '.join(known)}. Say which with --format."
    )


def read_rows(path: Path, kind: Format) -> Rows:
    """Return the rows of a file with their indices; what they hold is not checked here.

    Raises:
        InvalidData: if the file is not there or not of that format, naming each bad row.
        MissingExtra: if the format needs a package that is not installed.
    """
    if not path.is_file():
        raise InvalidData(f"{path} is not a file. Give a file of annotations.")
    if kind == "parquet":
        return read_parquet(path)
    readers: dict[str, Callable[[str, str], Rows]] = {
        "csv": _read_csv,
        "jsonl": _read_jsonl,
        "labelstudio": _read_labelstudio,
    }
    if kind not in readers:
        raise InvalidData(f"{path}: {kind} is written but not read. Read CSV, JSON or Parquet.")
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None
    return readers[kind](content, path.name)


def dump(annotations: Sequence[Annotation], kind: Format) -> bytes:
    """Return a file's content: the annotations sorted by id.

    Raises:
        InvalidData: for `datasets`, which is a folder.
        MissingExtra: if the format needs a package that is not installed.
    """
    rows = sorted(annotations, key=lambda note: note.id)
    writers: dict[str, Callable[[Sequence[Annotation]], bytes]] = {
        "csv": _dump_csv,
        "jsonl": lambda notes: "".join(f"{note.to_json()}\n" for note in notes).encode(),
        "parquet": dump_parquet,
        "labelstudio": lambda notes: _pretty(write_tasks(notes)),
    }
    if kind not in writers:
        raise InvalidData(f"{kind} is a folder: name it with --out.")
    return writers[kind](rows)


def write(annotations: Sequence[Annotation], kind: Format, path: Path) -> None:
    """Write a file, or the folder of `datasets`, in one step.

    Raises:
        DiplophraseError: `storage` if it cannot be written, or the folder is there already.
    """
    if kind == "datasets":
        save_dataset(sorted(annotations, key=lambda note: note.id), path)
    else:
        write_whole(path, dump(annotations, kind))


def _pretty(tasks: object) -> bytes:
    return (json.dumps(tasks, ensure_ascii=False, indent=1) + "\n").encode()


def _dump_csv(annotations: Sequence[Annotation]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(FIELDS)
    for note in annotations:
        writer.writerow(
            [_cell(name, value) for name, value in note.model_dump(mode="json").items()]
        )
    return out.getvalue().encode()


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "labels":
        return " ".join(value)
    return json.dumps(value, ensure_ascii=False) if name in _JSON_CELLS else str(value)


def _read_csv(content: str, name: str) -> Rows:
    csv.field_size_limit(max(131_072, len(content)))
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        heading, *lines = list(reader) or [[]]
    except csv.Error as error:
        raise InvalidData(f"{name}, line {reader.line_num}: {error}. Mend the quotes.") from None
    unknown = [column for column in heading if column not in (*FIELDS, "model_version")]
    missing = [column for column in ("text", "labels") if column not in heading]
    if unknown or missing or len(set(heading)) != len(heading):
        raise InvalidData(
            f"{name}: found the columns {', '.join(heading)[:300]}; a file has text and labels, "
            f"each column once, and may have {', '.join(FIELDS)} and model_version."
        )
    rows: Rows = []
    faults = []
    for index, cells in enumerate(lines, 2):
        if len(cells) not in (0, len(heading)):
            rule = f"{len(heading)} cells, as the heading has"
            faults.append(Detail("row", f"{len(cells)} cells", rule, index))
        elif cells:
            row, bad = _parse_cells(dict(zip(heading, cells, strict=True)), index)
            rows.append((index, row))
            faults += bad
    _raise_rows(name, faults)
    return rows


def _parse_cells(cells: dict[str, str], index: int) -> tuple[dict[str, Any], list[Detail]]:
    row: dict[str, Any] = {}
    faults = []
    for name, cell in cells.items():
        if name == "labels":
            row[name] = cell.split()
        elif name in _JSON_CELLS and cell:
            try:
                row[name] = json.loads(cell)
            except (ValueError, RecursionError):
                faults.append(Detail(name, repr(cell)[:60], "must be JSON", index))
        elif cell or name == "text":
            row[name] = cell
    return row, faults


def _read_jsonl(content: str, name: str) -> Rows:
    rows: Rows = []
    faults = []
    for index, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                rows.append((index, _known(json.loads(line))))
            except (ValueError, RecursionError):
                faults.append(Detail("line", repr(line)[:60], "must be a JSON object", index))
    _raise_rows(name, faults)
    return rows


def _known(row: object) -> object:
    """Leave out what is null: it is the same as what is not there."""
    if isinstance(row, dict):
        return {name: value for name, value in row.items() if value is not None}
    return row


def _read_labelstudio(content: str, name: str) -> Rows:
    try:
        tasks = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidData(f"{name} is not JSON. Export as JSON from Label Studio.") from None
    rows, faults = read_tasks(tasks)
    _raise_rows(name, faults)
    return rows


def _raise_rows(name: str, faults: list[Detail]) -> None:
    if faults:
        raise rows_error(name, faults)


def rows_error(name: str, faults: Sequence[Detail]) -> InvalidData:
    """Return the one error that names every fault of a file by its row."""
    lines = "\n".join(
        f"  row {fault.index}, {fault.field}: found {fault.found}; {fault.rule}" for fault in faults
    )
    return InvalidData(
        f"{name}: {len(faults)} fault(s), so nothing was taken in.\n{lines}\n"
        f"Mend these rows, then import the file again.",
        details=list(faults),
    )
