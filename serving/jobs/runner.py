"""`python -m serving.jobs.runner FOLDER LOCK GRACE_S`: run one job and write down how it ended.

It is the leader of a process group and holds the lock of all jobs, as an open file that it
inherits and passes on to the work: the lock is free once both have ended, however they do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from serving.jobs.state import JobFolder, Process, now

_LOOK_S = 0.2
_ERROR_BYTES = 2_000


class Keeper:
    """Watches the work of a job, from its start to its end."""

    def __init__(self, folder: JobFolder, *, lock: int, grace_s: float) -> None:
        self.folder = folder
        self.lock = lock
        self.grace_s = grace_s
        self._told = False

    def hear(self, signum: int, frame: FrameType | None) -> None:
        """Take a SIGTERM as being cancelled: it went to the whole group."""
        self._told = True

    def run(self) -> None:
        """Run the job's command; the state is final when this returns."""
        job = self.folder.update(keeper=Process.of(os.getpid()))
        if self._cancelled():
            self._end("cancelled")
            return
        with self.folder.output.open("wb") as output, self.folder.log.open("ab") as log:
            try:
                worker = subprocess.Popen(
                    job.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=log,
                    pass_fds=[self.lock],
                )
            except OSError as error:
                self._end("failed", error=f"{job.command[0]} cannot be run: {error.strerror}.")
                return
            self.folder.update(worker=Process.of(worker.pid))
            code = self._watch(worker)
        if code == 0:
            self._end("done", exit_code=code)
        elif self._cancelled():
            self._end("cancelled", exit_code=code)
        else:
            self._end("failed", exit_code=code, error=self._reason(code))

    def _watch(self, worker: subprocess.Popen[bytes]) -> int:
        """Wait until the work has ended; once cancelled it is told to, and then made to."""
        kill_at: float | None = None
        while True:
            try:
                return worker.wait(timeout=_LOOK_S)
            except subprocess.TimeoutExpired:
                if kill_at is None and self._cancelled():
                    os.killpg(os.getpgrp(), signal.SIGTERM)
                    kill_at = time.monotonic() + self.grace_s
                elif kill_at is not None and time.monotonic() >= kill_at:
                    worker.kill()

    def _cancelled(self) -> bool:
        return self._told or self.folder.cancelled

    def _reason(self, code: int) -> str:
        """Return the last lines of the log, from the program's own message on if there is one."""
        text = self.folder.tail(self.folder.log, most_bytes=_ERROR_BYTES).strip()
        at = text.rfind("error: ")
        told = text[at + len("error: ") :] if at >= 0 else "\n".join(text.splitlines()[-5:])
        return told or f"It ended with code {code} and said nothing."

    def _end(self, state: str, **changes: Any) -> None:
        self.folder.update(state=state, ended=now(), **changes)


def main(folder: str, lock: str, grace_s: str) -> None:
    """Run the job of a folder, then end what it left running in its group."""
    keeper = Keeper(JobFolder(Path(folder)), lock=int(lock), grace_s=float(grace_s))
    signal.signal(signal.SIGTERM, keeper.hear)
    keeper.run()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
