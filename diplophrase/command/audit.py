"""`diplophrase labels audit`: hand labels that are likely wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from diplophrase.bundle import current_bundle, load_bundle, load_version

if TYPE_CHECKING:
    from training.audit import Audit, Changes, Suspect
    from training.regrade import Regraded

_IDS_SHOWN = 10


def audit(
    version: Annotated[
        str | None, typer.Option(help="Whose answers out of fold; default: the current one.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many decisions to list.")] = 40,
    neighbours: Annotated[
        int, typer.Option(min=0, help="Nearest sentences to show with each; 0 is quicker.")
    ] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one a decision.")] = False,
    labels: Annotated[Path, typer.Option(help="Folder with codebook and annotations.")] = Path(
        "labels"
    ),
    models: Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")] = Path("models"),
) -> None:
    """List the hand labels that are likeliest to be wrong, by answers out of fold."""
    bundle = load_version(models, version) if version else load_bundle(current_bundle(models))
    from training.audit import audit_labels
    from training.data import Paths, read_data

    data = read_data(Paths(labels, labels, models))
    found = audit_labels(bundle, data, top=top, neighbours=neighbours)
    for line in describe(found):
        typer.echo(line, err=True)
    if as_json:
        for suspect in found.suspects:
            typer.echo(json.dumps(suspect.to_dict(), ensure_ascii=False))
        return
    console = Console()
    (console if console.is_terminal else Console(width=150)).print(tabulate(found.suspects))


def describe(found: Audit) -> list[str]:
    """Return what was looked at, and what changed since the version was measured, as lines."""
    return [
        f"{found.version}: {found.decisions} decisions on {found.sentences} sentences; confident "
        f"learning takes {found.issues} for errors.",
        *_describe_changes(found.changes),
        *(_describe_regraded(found.regraded) if found.regraded else []),
    ]


def _describe_changes(changes: Changes) -> list[str]:
    told = {
        "their hand labels changed since; the labels of today are audited": changes.relabelled,
        "their text changed since; left out until a version has answered it": changes.reworded,
        "the version answered for them, but they are in no file now": changes.gone,
        "not answered out of fold by this version; left out": changes.unanswered,
    }
    lines = [f"{len(ids)} sentences: {what}: {_some(ids)}" for what, ids in told.items() if ids]
    if changes.unhashed:
        lines.append(
            f"{changes.unhashed} sentences: the version does not note which text it answered, so "
            f"a text that changed since is not seen."
        )
    if changes.unknown_labels:
        lines.append(
            f"Labels that the version does not know, left out: {', '.join(changes.unknown_labels)}"
        )
    return lines


def _describe_regraded(regraded: Regraded) -> list[str]:
    figures = {"macro-F1": regraded.macro_f1, "micro-F1": regraded.micro_f1} | {
        label: shift.f1 for label, shift in regraded.labels.items()
    }
    counts = {
        label: f" ({shift.support[0]} -> {shift.support[1]} sentences: "
        f"{shift.added} added, {shift.removed} removed)"
        for label, shift in regraded.labels.items()
    }
    return [
        "The same answers by the labels of then -> by those of today, F1 in percent:",
        *(
            f"  {name}: {100 * then:.2f} -> {100 * now:.2f}{counts.get(name, '')}"
            for name, (then, now) in figures.items()
        ),
    ]


def _some(ids: tuple[str, ...]) -> str:
    more = len(ids) - _IDS_SHOWN
    return ", ".join(ids[:_IDS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def tabulate(suspects: tuple[Suspect, ...]) -> Table:
    """Return the suspects as a table, each above the sentences that are nearest to it."""
    table = Table(show_lines=True)
    for name in ("sentence", "label", "by hand", "score", "quality", "error"):
        table.add_column(name, justify="right" if name in ("score", "quality") else "left")
    for suspect in suspects:
        near = [
            f"\n  {_yes(suspect.label in other.labels)} {other.similarity:.2f} "
            f"{other.id}: {other.text}"
            for other in suspect.neighbours
        ]
        table.add_row(
            escape(f"{', '.join(suspect.ids)}: {suspect.text}{''.join(near)}"),
            suspect.label,
            _yes(suspect.by_hand),
            f"{suspect.score:.3f}",
            f"{suspect.quality:.3f}",
            "likely" if suspect.issue else "",
        )
    return table


def _yes(given: bool) -> str:
    return "yes" if given else "no"
