"""The real server on a free port of this machine, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from diplophrase.client import Client
from diplophrase.settings import ENV_PREFIX

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from diplophrase.command import main; main()"]
START_SECONDS = 300  # seconds are generous: they only keep a test from waiting for ever
STOP_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A server that is ready: where it listens, its process, and the file of its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def figure(self, name: str) -> float:
        """Return one figure of /metrics by its name and labels, 0 if it is not there yet."""
        for line in httpx.get(f"{self.url}/metrics", timeout=60).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with `settings` of the service."""
    given = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, **given}


@contextmanager
def running_server(**settings: object) -> Iterator[Server]:
    """Start `diplophrase serve` with `settings`, wait until it is ready, and stop it at the end."""
    port = _free_port()
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)],
            cwd=ROOT,
            env=environment(**settings),
            stderr=log,
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        try:
            wait_until_ready(server)
            yield server
        finally:
            _stop(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(server: Server) -> None:
    """Ask until the server says that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    with Client(server.url) as client:
        while not client.ready():
            ended = server.process.poll()
            assert ended is None, f"the server ended: {server.log.read_text(encoding='utf-8')}"
            if time.monotonic() > deadline:
                pytest.fail(f"not ready within {START_SECONDS} s")
            time.sleep(0.05)


def _stop(server: Server) -> None:
    server.process.send_signal(signal.SIGTERM)
    try:
        code = server.process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise
    assert code == 0, server.log.read_text(encoding="utf-8")
