"""Texts from files of any size, and which few of them may go into the queue.

A scored archive is what `diplophrase score` writes, or `diplophrase classify --json --scores`: a
`text`, and the scores as columns `score_LABEL` or as one object `scores`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import text_key
from diplophrase.errors import Detail, InvalidData, MissingExtra
from diplophrase.review import MIX, rarity, uncertainty
from diplophrase.visible import HALF_CHARACTER, is_blank
from serving.store.formats import rows_error

_AT_ONCE = 8_192  # rows that are judged together
_PREFIX = "score_"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text of a file, with the scores that the file has for it."""

    text: str
    scores: Mapping[str, float] | None = None


def read_candidates(path: Path, *, max_characters: int) -> Iterator[Candidate]:
    """Yield the texts of `.txt` (one a line), `.csv`, `.jsonl` or `.parquet`; blank ones not.

    Raises:
        InvalidData: if the file is none of these, or naming the first bad row.
        MissingExtra: for Parquet without pyarrow.
    """
    readers = {".txt": _lines, ".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    if not path.is_file() or path.suffix not in readers:
        raise InvalidData(f"{path}: give a file that ends in {', '.join(readers)}.")
    try:
        for number, row in readers[path.suffix](path):
            candidate = _candidate(path.name, number, row, max_characters)
            if candidate is not None:
                yield candidate
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None


def choose_candidates(
    candidates: Iterator[Candidate],
    *,
    labels: Sequence[str],
    thresholds: npt.NDArray[np.floating],
    positives: Mapping[str, int],
    keep: int,
) -> list[str]:
    """Return the `keep` texts most worth a look by uncertainty and rarity, each text once.

    Texts without scores are worth as much as can be, as nothing is known of them. One pass, in
    bounded memory.
    """
    support = np.array([positives.get(label, 0) for label in labels], dtype=np.float64)
    best: dict[str, tuple[float, str]] = {}
    for part in _parts(candidates):
        found = [candidate.scores or {} for candidate in part]
        scores = np.array([[row.get(label, 0.0) for label in labels] for row in found])
        values = MIX.uncertainty * uncertainty(scores, thresholds)
        values = values + MIX.rarity * rarity(scores, thresholds, support)
        for candidate, value in zip(part, values, strict=True):
            worth = float("inf") if candidate.scores is None else round(float(value), 9)
            best.setdefault(text_key(candidate.text), (worth, candidate.text))
        ordered = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
        best = dict(ordered[:keep])
    return [text for _, text in best.values()]


def _parts(candidates: Iterator[Candidate]) -> Iterator[list[Candidate]]:
    part: list[Candidate] = []
    for candidate in candidates:
        part.append(candidate)
        if len(part) == _AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _candidate(name: str, number: int, row: Any, max_characters: int) -> Candidate | None:
    """Return what a row holds, None if its text is blank."""
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise rows_error(name, [Detail("text", repr(text)[:60], "a row has a text", number)])
    rule = ""
    if len(text) > max_characters:
        rule = f"at most {max_characters} characters a text"
    elif HALF_CHARACTER.search(text) or "\0" in text:
        rule = "a text is Unicode, without NUL"
    if rule:
        raise rows_error(name, [Detail("text", repr(text)[:60], rule, number)])
    if is_blank(text):
        return None
    scores = row.get("scores")
    if not isinstance(scores, dict):
        scores = {
            column.removeprefix(_PREFIX): value
            for column, value in row.items()
            if column.startswith(_PREFIX) and value not in (None, "")
        }
    try:
        return Candidate(text, {label: float(score) for label, score in scores.items()} or None)
    except (TypeError, ValueError):
        fault = Detail("scores", repr(scores)[:60], "scores are numbers", number)
        raise rows_error(name, [fault]) from None


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            yield number, {"text": line.strip()}


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from enumerate(csv.DictReader(file), 2)


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError):
                    fault = Detail("line", repr(line)[:60], "must be a JSON object", number)
                    raise rows_error(path.name, [fault]) from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    if find_spec("pyarrow") is None:
        raise MissingExtra("reading Parquet", "score", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except pa.ArrowException as error:
        raise InvalidData(f"{path} is not Parquet: {str(error).partition('. ')[0]}.") from None
