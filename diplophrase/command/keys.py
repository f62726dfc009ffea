"""`diplophrase keys`: make, list and revoke the API keys that writing needs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diplophrase.settings import load_settings

keys_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)

File = Annotated[
    Path | None, typer.Option("--file", help="File of keys. Default: `keys` of the settings.")
]


def _path(file: Path | None) -> Path:
    return load_settings().keys if file is None else file


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use the key.")],
    file: File = None,
) -> None:
    """Make a key. Its secret is printed now and never again."""
    from serving.keys import create_key

    path = _path(file)
    record, secret = create_key(path, name)
    typer.echo(secret)
    typer.echo(
        f"Key {record.id} for {record.name} is in force. {path} keeps only its hash, so store "
        f"the secret now. Send it with each request that writes: Authorization: Bearer SECRET",
        err=True,
    )


@keys_app.command("list")
def show_all(file: File = None) -> None:
    """List all keys, revoked ones too, without their secrets."""
    from serving.keys import list_keys

    table = Table()
    table.add_column("id", no_wrap=True)
    table.add_column("name", overflow="fold")
    table.add_column("created", no_wrap=True)
    table.add_column("revoked", no_wrap=True)
    for record in list_keys(_path(file)):
        table.add_row(record.id, Text(record.name), _time(record.created), _time(record.revoked))
    Console().print(table)


def _time(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else ""


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    file: File = None,
) -> None:
    """End a key; a running service refuses it from the next request on."""
    from serving.keys import revoke_key

    record = revoke_key(_path(file), key_id)
    typer.echo(
        f"Key {record.id} for {record.name} is revoked since {_time(record.revoked)}.", err=True
    )
