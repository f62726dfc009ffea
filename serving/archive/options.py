"""What a run is told, and the part of it that shapes the output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from diplophrase.errors import InvalidRequest
from diplophrase.settings import Settings

OUTPUT_FORMATS = {"jsonl": "jsonl", "json": "jsonl", "ndjson": "jsonl", "csv": "csv"}
OUTPUT_FORMATS |= {"parquet": "parquet", "pq": "parquet"}
INPUT_FORMATS = ("csv", "tsv", "jsonl", "parquet", "text", "document")
_MAX_CHARACTERS: int = Settings.model_fields["max_characters"].default
_MAX_STATEMENT_CHARACTERS: int = Settings.model_fields["max_statement_characters"].default


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What shapes the output; a run is only continued with the options it began with."""

    text_column: str | None = None
    id_column: str | None = None
    documents: bool = False
    summary: str | None = None  # the name of the summary's file
    labels: tuple[str, ...] = ()  # () keeps all
    min_score: float = 0.0
    limit: int | None = None  # rows
    format: str = "jsonl"
    input_format: str | None = None
    max_characters: int = _MAX_CHARACTERS
    part_rows: int = 2048
    part_characters: int = 500_000

    def recorded(self) -> dict[str, Any]:
        """Return the options as they stand in the manifest."""
        return {**asdict(self), "labels": list(self.labels)}


def make_options(output: str | Path | None, **given: Any) -> Options:
    """Return the options; None means not given.

    Raises:
        InvalidRequest: if an option has no sense or contradicts another.
    """
    named = {name: value for name, value in given.items() if value is not None}
    if "labels" in named:
        named["labels"] = tuple(named["labels"])
    if named.get("documents"):
        named.setdefault("max_characters", _MAX_STATEMENT_CHARACTERS)
    if output is not None:
        named["format"] = format_of(output, named.get("format"))
    options = Options(**named)
    _check(options)
    return options


def format_of(path: str | Path, given: str | None = None) -> str:
    """Return the format of an output file, as given or else by its suffix.

    Raises:
        InvalidRequest: if neither says one that can be written.
    """
    name = given or Path(path).suffix.lstrip(".")
    if name.lower() not in OUTPUT_FORMATS:
        raise InvalidRequest(
            f"The output {path} has the format {name or 'of no suffix'!r}; jsonl, csv and parquet "
            f"can be written. End the name in one of them, or give --format."
        )
    return OUTPUT_FORMATS[name.lower()]


def _check(options: Options) -> None:
    if options.summary is not None and not options.documents:
        raise InvalidRequest(
            "--summary has a row for each document and so needs --documents. Add it."
        )
    if options.input_format not in (None, *INPUT_FORMATS):
        raise InvalidRequest(
            f"--input-format is {options.input_format!r}; it may be {', '.join(INPUT_FORMATS)}."
        )
    if not 0 <= options.min_score <= 1:
        raise InvalidRequest(f"--min-score is {options.min_score}; a score lies between 0 and 1.")
    bounds = {"--limit": options.limit, "--max-characters": options.max_characters}
    bounds |= {"--part-rows": options.part_rows, "--part-characters": options.part_characters}
    for name, value in bounds.items():
        if value is not None and value < 1:
            raise InvalidRequest(f"{name} is {value}; it must be 1 or more.")


class Given(TypedDict, total=False):
    """The options as keywords of `diplophrase.score` and `diplophrase.score_rows`.

    None is the same as leaving an option out. `docs/archives.md` says what each does.
    """

    text_column: str | None
    id_column: str | None
    documents: bool | None
    labels: Sequence[str] | None
    min_score: float | None
    limit: int | None
    format: str | None
    input_format: str | None
    max_characters: int | None
    part_rows: int | None
    part_characters: int | None
