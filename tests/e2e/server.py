"""The real server on a free port of this machine, for as long as a `with` block lasts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from diplophrase.settings import ENV_PREFIX

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from diplophrase.command import main; main()"]
PATIENCE_S = 300  # generous: it only keeps a test from waiting for ever


@dataclass(frozen=True)
class Server:
    """A server that is ready: where it listens, its process, and the file of its log."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ready(self) -> bool:
        """Tell whether it answers that it is ready; fail if it has ended."""
        assert self.process.poll() is None, f"it ended: {self.log.read_text(encoding='utf-8')}"
        answer = get(f"{self.url}/readyz")
        return answer is not None and answer.status_code == 200

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

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


def wait_until(happened: Callable[[], object], what: str) -> None:
    """Poll until `happened()` is true, and fail naming `what` if it does not happen."""
    ends = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > ends:
            pytest.fail(f"not within {PATIENCE_S} s: {what}")
        time.sleep(0.05)


def get(url: str) -> httpx.Response | None:
    """Return the answer on a connection of its own, None if there is none."""
    try:
        return httpx.get(url, timeout=60)
    except httpx.TransportError:
        return None


@contextmanager
def running_server(*options: str, **settings: object) -> Iterator[Server]:
    """Start `diplophrase serve`, wait until it is ready, and stop it at the end.

    `options` go on its command line, `settings` into its environment.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (
        tempfile.NamedTemporaryFile(suffix=".log") as log,
        tempfile.TemporaryDirectory(prefix="dp-store-") as store,
    ):
        if "labels" not in settings:  # the labels of this clone stay as they are
            settings.setdefault("database", f"sqlite:///{store}/store.db")
        process = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port), *options],
            cwd=ROOT,
            env=environment(**settings),
            stderr=log,
        )
        server = Server(f"http://127.0.0.1:{port}", process, Path(log.name))
        try:
            wait_until(server.ready, "ready")
            yield server
        finally:
            if process.poll() is None:
                assert server.stop() == 0, server.log.read_text(encoding="utf-8")
