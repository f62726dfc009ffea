"""The real command `diplophrase serve`, started on a free port and stopped again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120


@dataclass
class Service:
    """A running service: where it listens, its process, and the file that its log goes to."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=PATIENCE_S)


def wait_until(happened: Callable[[], object], what: str) -> None:
    """Poll until `happened()` is true.

    Raises:
        AssertionError: naming `what` did not happen in `PATIENCE_S` seconds.
    """
    ends = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < ends, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.05)


def get(url: str) -> httpx.Response | None:
    """Return the answer on a connection of its own, None if there is none."""
    try:
        return httpx.get(url, timeout=30)
    except httpx.TransportError:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(log: Path, *options: str, **settings: str) -> Iterator[Service]:
    """Yield the service once it is ready; `settings` go into its environment."""
    port = free_port()
    program = [sys.executable, "-c", "from diplophrase.command import main; main()"]
    environment = os.environ | {f"DIPLOPHRASE_{name.upper()}": v for name, v in settings.items()}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*program, "serve", "--port", str(port), *options],
            cwd=ROOT,
            env=environment,
            stderr=file,
        )
    service = Service(f"http://127.0.0.1:{port}", process, log)

    def ready() -> bool:
        assert process.poll() is None, f"it ended: {log.read_text()}"
        answer = get(f"{service.url}/readyz")
        return answer is not None and answer.status_code == 200

    try:
        wait_until(ready, "ready")
        yield service
    finally:
        if process.poll() is None and service.stop() != 0:
            raise AssertionError(log.read_text())
