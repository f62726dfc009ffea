"""`diplophrase models`: which versions there are, and which one answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from diplophrase.bundle import current_bundle, load_bundle, set_current
from diplophrase.versions import read_version, version_paths

models_app = typer.Typer(help="List, show and switch model versions.", no_args_is_help=True)

Models = Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")]


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
def promote(version: str, models: Models = Path("models")) -> None:
    """Make a version the one that answers, after verifying that it is whole."""
    set_current(models, version)
    typer.echo(
        f"{version} is current. A service that runs follows within `model_poll_s` seconds.",
        err=True,
    )
