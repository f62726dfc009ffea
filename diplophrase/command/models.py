"""`diplophrase models`: which versions there are, and which one answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from diplophrase.bundle import current_bundle, load_bundle, set_current
from diplophrase.errors import BundleError

models_app = typer.Typer(help="List, show and switch model versions.", no_args_is_help=True)

Models = Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")]


@models_app.command("list")
def list_models(models: Models = Path("models")) -> None:
    """List all versions; the one that answers is marked."""
    current = current_bundle(models).name
    table = Table("version", "current", "macro-F1", "created", "state")
    for path in sorted(models.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        mark = "yes" if path.name == current else ""
        try:
            load_bundle(path)
        except BundleError as error:
            table.add_row(path.name, mark, "", "", error.message)
            continue
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        measured = metrics.get("cross_validation")
        macro = f"{measured['model']['macro']['f1']:.3f}" if measured else "not measured"
        table.add_row(path.name, mark, macro, manifest.get("created", ""), "whole")
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
    typer.echo(f"{version} answers from the next start of the service.", err=True)
