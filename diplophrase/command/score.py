"""`diplophrase score`: files in, labelled files out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from diplophrase.errors import InvalidRequest
from diplophrase.progress import ProgressFile

messages = Console(stderr=True)


def score(
    inputs: Annotated[
        list[str],
        typer.Argument(help="Files, folders of .txt/.md, globs, URLs; '-' reads stdin."),
    ],
    output: Annotated[str, typer.Option(help="The file to write: .jsonl, .csv or .parquet.")],
    text_column: Annotated[str | None, typer.Option(help="Column of texts; else 'text'.")] = None,
    id_column: Annotated[str | None, typer.Option(help="Column that names documents.")] = None,
    documents: Annotated[
        bool, typer.Option("--documents", help="Split texts; a row for each sentence.")
    ] = False,
    summary: Annotated[
        str | None, typer.Option(help="With --documents: a file with a row for each.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Only these labels, a,b,c.")] = None,
    min_score: Annotated[float | None, typer.Option(help="Leave out labels below this.")] = None,
    limit: Annotated[int | None, typer.Option(help="Read only so many rows.")] = None,
    format: Annotated[  # noqa: A002  # the option's name
        str | None, typer.Option(help="Of the output, if its name does not say.")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help="csv, tsv, jsonl, parquet, text or document.")
    ] = None,
    max_characters: Annotated[int | None, typer.Option(help="Longer texts are bad rows.")] = None,
    part_rows: Annotated[int | None, typer.Option(help="Rows in a part.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew.")] = False,
    engine: Annotated[str, typer.Option(help="local, or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; else one here.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Batches at once; with ray, actors.")
    ] = None,
    models: Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")] = Path("models"),
    within: Annotated[
        Path | None, typer.Option(help="Work in this folder, and touch no file outside of it.")
    ] = None,
    progress: Annotated[
        Path | None, typer.Option(help="File that says how far the run is, as JSON.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts on stdout.")] = False,
) -> None:
    """Score archives of any size; killed and run again, it goes on where it was."""
    from serving.archive import score as run
    from serving.archive.progress import Reporter

    told = None if progress is None else ProgressFile(progress.resolve(), stages=1)
    models = models.resolve() if within is not None else models
    if within is not None:
        within = enter_folder(within)
    counts = run(
        inputs,
        output,
        text_column=text_column,
        id_column=id_column,
        documents=documents,
        summary=summary,
        labels=[label.strip() for label in labels.split(",")] if labels else None,
        min_score=min_score,
        limit=limit,
        format=format,
        input_format=input_format,
        max_characters=max_characters,
        part_rows=part_rows,
        strict=strict,
        restart=restart,
        engine=engine,
        address=address,
        workers=workers,
        models=models,
        within=within,
        reporter=Reporter(messages, progress=told),
    )
    for line in counts.lines():
        messages.print(line, markup=False, highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps({"output": output, **counts.to_dict()}))


def enter_folder(folder: Path) -> Path:
    """Make `folder` the one from which names count, and return it whole.

    Raises:
        InvalidRequest: if it is no folder.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise InvalidRequest(
            f"--within {folder}: {error.strerror}. Name a folder that is there."
        ) from None
    return Path.cwd()
