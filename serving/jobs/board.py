"""The jobs of a folder: start one, list them, read one, end one. Any number of processes may.

One job runs at a time, as one lock says, which the running job itself holds: it is free again
however the job ends, and stays held when the service that started the job ends.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from diplophrase.errors import DiplophraseError
from diplophrase.settings import Settings
from serving.jobs.kinds import KINDS, command_of
from serving.jobs.state import ID, Job, JobFolder, now

MOST_JOBS = 100  # that are kept; the oldest go first
MOST_LOG_BYTES = 1_000_000
_LOST = (
    "Its process ended without saying how: it was killed, or the machine went down. The log has "
    "what it said last."
)
_LOCK_TRIES, _LOCK_PAUSE_S = 25, 0.02


class JobBoard:
    """The jobs in the settings' folder. Its calls read and write files: not for an event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path = settings.jobs_folder

    def start(self, kind: str, options: dict[str, Any], *, by: str) -> Job:
        """Start a job and return it at once.

        Raises:
            MissingExtra: if the service lacks the packages that the job needs.
            InvalidRequest: if the options cannot be used.
            DiplophraseError: `conflict`, naming the job, if one runs; `storage` if the folder
                cannot be written.
        """
        job_id = f"{now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
        folder = JobFolder(self.path.resolve() / job_id)
        command = command_of(kind, options, self.settings, folder.progress)
        job = Job(id=job_id, kind=kind, options=options, by=by, command=tuple(command))
        try:
            lock = self._take_lock()
            try:
                self._settle()
                self._forget_oldest()
                folder.path.mkdir(parents=True)
                folder.write(job)
                self._launch(folder, lock)
            finally:
                os.close(lock)
        except OSError as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise DiplophraseError(
                f"No job was started: {error.filename or self.path}: {error.strerror}. Mend that "
                f"and start it again.",
                kind="storage",
            ) from error
        return job

    def _launch(self, folder: JobFolder, lock: int) -> None:
        with folder.log.open("ab") as log:
            keeper = subprocess.Popen(
                [
                    *(sys.executable, "-m", "serving.jobs.runner"),
                    *(str(folder.path), str(lock), str(self.settings.job_grace_s)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )
        threading.Thread(target=keeper.wait, daemon=True).start()  # so that it is no zombie

    def read_all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        found = [self._present(job) for job in self._stored()]
        if any(job.state in ("running", "cancelling") for job in found):
            self._settle_if_none_runs()
            found = [self._present(job) for job in self._stored()]
        return sorted(found, key=lambda job: job.created, reverse=True)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            DiplophraseError: `not_found` if there is none of this id.
        """
        job = self._read(job_id)
        if job.state == "running":
            self._settle_if_none_runs()
            job = self._read(job_id)
        return self._present(job)

    def details(self, job: Job) -> dict[str, Any]:
        """Return a job as JSON has it, with how far it is and what came out."""
        folder = self._folder(job.id)
        result = None
        if job.state == "done":
            output = folder.tail(folder.output, most_bytes=MOST_LOG_BYTES)
            result = KINDS[job.kind].read_output(output) if job.kind in KINDS else {}
        shown = job.model_dump(mode="json", exclude={"command", "keeper", "worker"})
        return {**shown, "progress": folder.read_progress(), "result": result}

    def log(self, job_id: str) -> str:
        """Return the end of what a job said on stderr, at most `MOST_LOG_BYTES` of it.

        Raises:
            DiplophraseError: `not_found` if there is no such job.
        """
        self._read(job_id)
        folder = self._folder(job_id)
        return folder.tail(folder.log, most_bytes=MOST_LOG_BYTES)

    def cancel(self, job_id: str) -> Job:
        """Have a job end, and return it; one that has ended stays as it is.

        Raises:
            DiplophraseError: `not_found` if there is none of this id.
        """
        job = self.get(job_id)
        if job.state in ("running", "cancelling"):
            self._folder(job_id).cancel()
            if job.keeper is not None and not job.keeper.lives():
                _kill_orphan(job)
        return self.get(job_id)

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self.path / job_id)

    def _read(self, job_id: str) -> Job:
        try:
            if re.fullmatch(ID, job_id):
                return self._folder(job_id).read()
        except FileNotFoundError:
            pass
        raise DiplophraseError(
            f"There is no job {job_id[:100]!r}. GET /v1/jobs gives those there are.",
            kind="not_found",
        )

    def _stored(self) -> list[Job]:
        if not self.path.is_dir():
            return []
        found = []
        for path in self.path.iterdir():
            if re.fullmatch(ID, path.name):
                with suppress(FileNotFoundError):  # it begins, or is forgotten, this moment
                    found.append(JobFolder(path).read())
        return found

    def _present(self, job: Job) -> Job:
        if job.state == "running" and self._folder(job.id).cancelled:
            return job.model_copy(update={"state": "cancelling"})
        return job

    def _open_lock(self) -> int:
        self.path.mkdir(parents=True, exist_ok=True)
        return os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)

    def _take_lock(self) -> int:
        """Return the lock as an open file; whoever only looks holds it for a moment."""
        lock = self._open_lock()
        for _ in range(_LOCK_TRIES):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                time.sleep(_LOCK_PAUSE_S)
        os.close(lock)
        running = [job.id for job in self._stored() if job.state == "running"]
        which = f"The job {running[0]}" if running else "A job"
        raise DiplophraseError(
            f"{which} is running, and one runs at a time. Wait until it has ended, or end it: "
            f"DELETE /v1/jobs/{running[0] if running else 'ID'}",
            kind="conflict",
        )

    def _settle_if_none_runs(self) -> None:
        try:
            lock = self._open_lock()
        except OSError:
            return  # nothing can be settled on a disk that cannot be written
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._settle()
        except BlockingIOError:
            pass
        finally:
            os.close(lock)

    def _settle(self) -> None:
        """Say of each job that seems to run how it ended; the lock says that none runs."""
        for job in self._stored():
            if job.state == "running":
                folder = self._folder(job.id)
                state = "cancelled" if folder.cancelled else "lost"
                error = _LOST if state == "lost" else None
                folder.update(state=state, ended=now(), error=error)

    def _forget_oldest(self) -> None:
        jobs = sorted(self._stored(), key=lambda job: job.created)
        for job in jobs[: max(0, len(jobs) - MOST_JOBS + 1)]:
            shutil.rmtree(self._folder(job.id).path, ignore_errors=True)


def _kill_orphan(job: Job) -> None:
    """Kill the work of a job whose keeper was killed; nobody is left to do it gently."""
    if job.keeper is not None and job.worker is not None and job.worker.lives():
        os.killpg(job.keeper.pid, signal.SIGKILL)
