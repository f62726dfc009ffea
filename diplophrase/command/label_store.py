"""`diplophrase labels import`, `export` and what else works on the label store."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diplophrase.codebook import load_codebook
from diplophrase.command.labels import labels_app
from diplophrase.errors import InvalidRequest
from diplophrase.settings import Settings, load_settings

if TYPE_CHECKING:
    from serving.store.conflicts import Claim
    from serving.store.store import LabelStore

Labels = Annotated[
    Path | None, typer.Option(help="Folder of codebook and store. Default: `labels` of settings.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", help="csv, jsonl, parquet, labelstudio; out also datasets. Else by the name."
    ),
]
STORE_FILE = "store.db"
MOST_EVENTS = 100_000  # of one text


def chosen_settings(labels: Path | None) -> Settings:
    """Return the settings, with the folder of labels that the command line names."""
    return load_settings(labels=labels)


@contextmanager
def open_store(settings: Settings) -> Iterator[LabelStore]:
    """Open the store that the settings name, and close it at the end."""
    from serving.store.database import Database, parse_url
    from serving.store.store import LabelStore

    database = Database(parse_url(settings.database, settings.labels))
    try:
        yield LabelStore(database)
    finally:
        database.close()


@labels_app.command("import")
def import_labels(
    file: Annotated[Path, typer.Argument(help="A file of annotations.")],
    format_: Format = None,
    annotator: Annotated[
        str | None, typer.Option(help="Who labelled the rows that do not say so.")
    ] = None,
    labels: Labels = None,
) -> None:
    """Take in all rows of a file, or none; conflicts are listed on stderr."""
    from serving.store.conflicts import ReferenceFiles
    from serving.store.formats import format_of, read_rows, rows_error
    from serving.store.intake import gather_rows

    settings = chosen_settings(labels)
    rows = read_rows(file, format_of(file, format_))
    entries = gather_rows(file.name, rows, settings, annotator)
    with open_store(settings) as store:
        try:
            receipts = store.add(entries, origin="import", skip_unchanged=True)
        except InvalidRequest as error:
            raise rows_error(file.name, error.details) from None
        found = store.conflicts(
            ReferenceFiles(settings.labels).claims(), [entry.key for entry in entries]
        )
        _tell_conflicts(found, {entry.key: entry.annotation.text for entry in entries})
    states = Counter(receipt.state for receipt in receipts)
    typer.echo(json.dumps({name: states[name] for name in ("added", "changed", "unchanged")}))


def _tell_conflicts(found: dict[str, list[Claim]], texts: dict[str, str]) -> None:
    if found:
        typer.echo(f"{len(found)} text(s) are labelled otherwise elsewhere:", err=True)
    for key, claims in sorted(found.items(), key=lambda item: texts[item[0]]):
        typer.echo(f"  {texts[key][:100]}", err=True)
        for claim in claims:
            said = ", ".join(claim.labels) or "none"
            typer.echo(f"    {claim.by} ({claim.id}): {said}", err=True)


@labels_app.command("export")
def export_labels(
    format_: Format = None,
    out: Annotated[Path | None, typer.Option(help="Where to. Default: stdout.")] = None,
    to_training: Annotated[
        bool, typer.Option("--to-training", help="Write annotations/added.jsonl for `train`.")
    ] = False,
    labels: Labels = None,
) -> None:
    """Write the annotations that hold, sorted by id; their hash is the data's version."""
    settings = chosen_settings(labels)
    if to_training:
        if out is not None or format_ is not None:
            raise InvalidRequest(
                "--to-training has its own place and format. Leave --out and --format away."
            )
        typer.echo(update_training(settings))
        return
    from diplophrase.annotations import data_hash
    from serving.store.formats import dump, format_of, write

    kind = format_of(out or Path("stdout.jsonl"), format_)
    with open_store(settings) as store:
        notes = [stored.annotation for stored in store.all()]
    digest = data_hash(notes)
    if out is None:
        content = dump(notes, kind)
        typer.echo(f"{len(notes)} annotations, data {digest}", err=True)
        sys.stdout.buffer.write(content)
        return
    write(notes, kind, out)
    typer.echo(f"Wrote {len(notes)} annotations to {out}.", err=True)
    typer.echo(digest)


def update_training(settings: Settings) -> str:
    """Write what training may take of the store, say what stayed out, and return its hash."""
    from serving.store.training import export_to_training

    with open_store(settings) as store:
        done = export_to_training(store, settings.labels)
    typer.echo(f"Wrote {done.annotations} annotations to {done.path}.", err=True)
    if done.known:
        typer.echo(f"{done.known} text(s) that our own files have stay out.", err=True)
    if done.conflicts:
        typer.echo(
            f"{len(done.conflicts)} text(s) in conflict stay out. Settle them: "
            f"diplophrase labels conflicts",
            err=True,
        )
    return done.data_hash


def bring_training_up_to_date(labels: Path) -> None:
    """Write what training may take of the store, if there is a store."""
    settings = chosen_settings(labels)
    if settings.database is not None or (labels / STORE_FILE).is_file():
        update_training(settings)


@labels_app.command()
def conflicts(
    labels: Labels = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one a text.")] = False,
) -> None:
    """List the texts that are labelled one way here and another way there."""
    from serving.store.conflicts import ReferenceFiles

    settings = chosen_settings(labels)
    with open_store(settings) as store:
        found = store.conflicts(ReferenceFiles(settings.labels).claims())
        texts = {item.key: item.annotation.text for item in store.all()}
    for key in sorted(found, key=lambda key: texts[key]):
        claims = found[key]
        if as_json:
            row = {"text": texts[key], "claims": [claim.to_dict() for claim in claims]}
            typer.echo(json.dumps(row, ensure_ascii=False))
            continue
        typer.echo(texts[key])
        for claim in claims:
            typer.echo(f"  {claim.by} ({claim.id}): {', '.join(claim.labels) or 'none'}")
    typer.echo(f"{len(found)} text(s) in conflict.", err=True)


@labels_app.command()
def retract(
    ids: Annotated[list[str], typer.Argument(help="Ids of annotations, as exports show them.")],
    labels: Labels = None,
) -> None:
    """Take annotations back, all or none; what was said stays in the events."""
    with open_store(chosen_settings(labels)) as store:
        receipts = store.retract(ids, origin="import")
    typer.echo(f"{len(receipts)} annotation(s) taken back.", err=True)


@labels_app.command()
def history(
    text: Annotated[str, typer.Argument(help="A text, as it was labelled.")],
    labels: Labels = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one an event.")] = False,
) -> None:
    """List all that was ever said of a text: who, when, which labels, and from where."""
    with open_store(chosen_settings(labels)) as store:
        found = store.history(text, limit=MOST_EVENTS)
    for event in found:
        if as_json:
            typer.echo(json.dumps(asdict(event), ensure_ascii=False))
            continue
        said = ", ".join(event.labels) or "none"
        by = f"key {event.key_id}" if event.key_id else event.origin
        model = f", correcting {event.model_version}" if event.model_version else ""
        verb = "took back" if event.kind == "retract" else "said"
        typer.echo(f"{event.received} {event.annotator} {verb}: {said} ({event.id}, {by}{model})")
    typer.echo(f"{len(found)} event(s).", err=True)


@labels_app.command("labelstudio-config")
def show_labelstudio_config(labels: Labels = None) -> None:
    """Print the labelling configuration that Label Studio asks for."""
    from serving.store.labelstudio import labelling_config

    codebook = load_codebook(chosen_settings(labels).labels / "codebook.yaml")
    typer.echo(labelling_config(codebook), nl=False)


@labels_app.command("queue")
def queue_texts(
    files: Annotated[
        list[Path], typer.Argument(help="Texts or scored archives: .txt, .csv, .jsonl, .parquet.")
    ],
    keep: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most texts that go into the queue.")
    ] = 1000,
    models: Annotated[Path | None, typer.Option(help="Folder of bundles.")] = None,
    labels: Labels = None,
) -> None:
    """Put the texts most worth a look into the review queue."""
    from serving.store.review import queue_files

    settings = load_settings(labels=labels, models=models)
    with open_store(settings) as store:
        new = queue_files(store, files, settings, keep=keep)
    typer.echo(f"{new} text(s) joined the queue.", err=True)


@labels_app.command()
def review(
    n: Annotated[int, typer.Option(min=1, max=10_000, help="How many texts.")] = 20,
    models: Annotated[Path | None, typer.Option(help="Folder of bundles.")] = None,
    labels: Labels = None,
) -> None:
    """Print the waiting texts most worth a look, a JSON object a line, the first of them first."""
    from serving.store.review import choose_waiting, suggestion_to_dict

    settings = load_settings(labels=labels, models=models)
    with open_store(settings) as store:
        for suggestion in choose_waiting(store, settings, count=n):
            typer.echo(json.dumps(suggestion_to_dict(suggestion), ensure_ascii=False))
