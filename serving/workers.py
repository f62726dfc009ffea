"""Several processes on one port: uvicorn's supervisor, with the rules of this service.

The supervisor binds the port once and starts each worker with the same socket. Each worker is a
whole service: its own model, queue and bounds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from diplophrase.settings import Settings
from serving.app import create_app
from serving.engine import Engine
from serving.metrics import FOLDER_VARIABLE, Metrics

log = logging.getLogger("diplophrase.serving")

_PAUSE_S = 5.0  # before a worker that could not start is tried again
_TEND_S = 1.0
_SILENT_S = 30  # a worker that says nothing for so long is ended; starting takes a while too


def run_workers(settings: Settings, options: dict[str, Any]) -> None:
    """Serve with `settings.workers` processes until stopped; `options` are those of uvicorn.

    Raises:
        SystemExit: if the port is taken or the first workers cannot start.
    """
    create_app(settings)  # what cannot be used is told here, once
    with TemporaryDirectory(prefix="diplophrase-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder  # the workers' metrics look there as they are imported
        config = uvicorn.Config(
            partial(create_worker, settings, Path(folder), os.getpid()),
            factory=True,
            workers=settings.workers,
            timeout_worker_healthcheck=_SILENT_S,
            **options,
        )
        supervisor = Supervisor(config, [config.bind_socket()], Path(folder))
        supervisor.run()
    if supervisor.failed:
        raise SystemExit(STARTUP_FAILURE)


def create_worker(settings: Settings, folder: Path, supervisor: int) -> FastAPI:
    """Build the service of one worker; `supervisor` is the process that started it."""
    metrics = Metrics(folder)
    return create_app(
        settings, metrics=metrics, beside=partial(tend, metrics=metrics, supervisor=supervisor)
    )


async def tend(engine: Engine, *, metrics: Metrics, supervisor: int) -> None:
    """Share the gauges once a second; stop this worker if it is alone or cannot run its model.

    It drains, as at every stop, and the supervisor starts another in its place.
    """
    while engine.ready and os.getppid() == supervisor:
        metrics.refresh()
        await asyncio.sleep(_TEND_S)
    metrics.refresh()
    reason = "a runner has ended" if os.getppid() == supervisor else "its supervisor has ended"
    log.critical("this worker stops: %s", reason)
    signal.raise_signal(signal.SIGTERM)


class Supervisor(Multiprocess):
    """Keeps the workers alive; at SIGHUP each looks at CURRENT.

    uvicorn answers SIGHUP with new workers, and a request on a connection that an old one closes
    fails; here no worker ends. uvicorn stops everything when a worker cannot start; here that
    holds only until one has served: later on the others serve, and the start is tried again.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], folder: Path) -> None:
        super().__init__(config, sockets)
        self.folder = folder
        self.failed = False
        self._ready: set[int] = set()  # every worker that has served
        self._due: dict[int, float] = {}  # place -> when its next worker may start

    def handle_hup(self) -> None:
        """Pass the signal on; a worker that is still starting reads CURRENT anyway."""
        for process in self.processes:
            if process.pid is not None and process.is_ready(timeout=1):
                os.kill(process.pid, signal.SIGHUP)

    def keep_subprocess_alive(self) -> None:
        """Start another worker in the place of each that has ended or says nothing."""
        for place, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if not process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._replace(place, process)
            elif process.pid not in self._ready and process.is_ready():
                self._ready.add(process.pid or 0)

    def _replace(self, place: int, process: Process) -> None:
        started = process.pid in self._ready
        if place not in self._due:
            process.kill()
            process.join()
            mark_process_dead(process.pid, str(self.folder))  # type: ignore[no-untyped-call]
            log.error("worker %s ended with code %s", process.pid, process.exitcode)
            self._due[place] = time.monotonic() + (0 if started else _PAUSE_S)
        if not self._ready and (process.exitcode or 0) > 0:  # it ended of itself
            log.error("no worker could start: the service stops")
            self.failed = True
            self.should_exit.set()
        elif time.monotonic() >= self._due[place]:
            del self._due[place]
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()
