"""`diplophrase models`: which versions there are, and which one answers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from diplophrase.bundle import current_bundle, load_bundle
from diplophrase.command.comparison import print_comparison
from diplophrase.compare import compare_versions
from diplophrase.gate import carry_out, decide, judge, roll_back, user_name
from diplophrase.settings import load_settings
from diplophrase.versions import read_version, version_paths

models_app = typer.Typer(
    help="List, show, compare and switch model versions.", no_args_is_help=True
)

_FOLLOWS = "A service that runs follows within `model_poll_s` seconds."

Models = Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")]
Data = Annotated[
    Path | None,
    typer.Option(help="Labelled sentences to test both on. Default: `frozen_test` of the settings"),
]


@models_app.command("list")
def list_models(models: Models = Path("models")) -> None:
    """List all versions; the one that answers is marked."""
    current = current_bundle(models).name
    table = Table("version", "current", "macro-F1", "created", "state")
    for version in map(read_version, version_paths(models)):
        mark = "yes" if version.version == current else ""
        macro = version.metrics.get("macro_f1")
        shown = "not measured" if macro is None else f"{macro:.3f}"
        state = version.reason or version.state
        created = version.created or ""
        table.add_row(version.version, mark, "" if version.reason else shown, created, state)
    Console().print(table)


@models_app.command()
def show(
    version: Annotated[str | None, typer.Argument(help="Default: the current one.")] = None,
    models: Models = Path("models"),
) -> None:
    """Print the card of a version."""
    path = models / version if version else current_bundle(models)
    typer.echo((load_bundle(path).path / "README.md").read_text(encoding="utf-8"))


@models_app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A version, such as the current one.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The version to hold against it.")],
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    models: Models = Path("models"),
) -> None:
    """Hold version B against version A: quality on unseen sentences, calibration, speed."""
    comparison = compare_versions(models, a, b, test=data or load_settings().frozen_test)
    faults = judge(comparison)
    if as_json:
        verdict = {"verdict": "fail" if faults else "pass"}
        reasons = {"reasons": [asdict(fault) for fault in faults]}
        typer.echo(json.dumps({**verdict, **reasons, **comparison.to_dict()}, ensure_ascii=False))
        return
    print_comparison(comparison, faults)


@models_app.command()
def promote(
    version: str,
    force: Annotated[
        str | None, typer.Option(help="Promote even if the gate refuses, for this reason.")
    ] = None,
    data: Data = None,
    models: Models = Path("models"),
) -> None:
    """Make a version the one that answers, if it is no worse than the one that does."""
    decision = decide(models, version, test=data or load_settings().frozen_test)
    record = carry_out(models, decision, by=user_name(), force=force)
    if record.forced is not None:
        typer.echo("\n".join(["Forced over what the gate found:", *record.reasons]), err=True)
    elif decision.comparison is not None:
        typer.echo(f"It passes the gate beside {decision.against}.", err=True)
    typer.echo(f"{version} is current. {_FOLLOWS}", err=True)


@models_app.command()
def rollback(models: Models = Path("models")) -> None:
    """Go back to the version that answered before; twice goes back two."""
    record = roll_back(models, by=user_name())
    typer.echo(f"{record.to} is current again, after {record.before}. {_FOLLOWS}", err=True)
