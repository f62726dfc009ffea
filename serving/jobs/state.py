"""A job on disk: a folder with its state, its log, its output and how far it is.

`state.json` is written by whoever starts the job and from then on by the process that runs it.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

ID = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{8}$"

State = Literal["running", "cancelling", "done", "failed", "cancelled", "lost"]


def now() -> datetime:
    """Return the time of day in UTC."""
    return datetime.now(UTC)


class Process(BaseModel):
    """A process: its id and when it started, which no later process of that id shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the process that has this id now."""
        return cls(pid=pid, started=_start_of(pid) or "")

    def lives(self) -> bool:
        """Tell whether it still runs, in this container or machine."""
        return bool(self.started) and _start_of(self.pid) == self.started


def _start_of(pid: int) -> str | None:
    """Return the boot and the clock tick at which a process started, None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


class Job(BaseModel):
    """What is known of a job; times are UTC.

    `lost` means that its process is gone without a result. `progress` and `result` are as the kind
    of the job gives them, `error` says why it failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=ID)
    kind: str
    options: dict[str, Any]
    state: State = "running"
    by: str
    created: AwareDatetime = Field(default_factory=now)
    ended: AwareDatetime | None = None
    exit_code: int | None = None
    error: str | None = None
    command: tuple[str, ...]
    keeper: Process | None = None  # the process that watches the work
    worker: Process | None = None  # the work itself, in the keeper's process group


class JobFolder:
    """The files of one job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state.json"
        self.log = path / "log"
        self.output = path / "output"
        self.progress = path / "progress.json"
        self._cancel = path / "cancel"

    def read(self) -> Job:
        """Return the job as it was last written; FileNotFoundError if it never was."""
        return Job.model_validate_json(self.state.read_bytes())

    def write(self, job: Job) -> None:
        """Write the state, whole, on disk when this returns."""
        scratch = self.path / ".state.json"
        with scratch.open("w", encoding="utf-8") as file:
            file.write(job.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self.state)

    def update(self, **changes: Any) -> Job:
        """Change fields of the job and return it."""
        job = self.read().model_copy(update=changes)
        self.write(job)
        return job

    @property
    def cancelled(self) -> bool:
        """Tell whether the job is to end."""
        return self._cancel.exists()

    def cancel(self) -> None:
        """Ask the process that watches the job to end it."""
        self._cancel.touch()

    def read_progress(self) -> dict[str, Any] | None:
        """Return how far the job is, None if it has not said so."""
        try:
            found = json.loads(self.progress.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def tail(self, file: Path, *, most_bytes: int) -> str:
        """Return the end of a file of the job, from the start of a line; empty if there is none."""
        try:
            with file.open("rb") as opened:
                size = opened.seek(0, os.SEEK_END)
                opened.seek(max(0, size - most_bytes))
                content = opened.read()
        except FileNotFoundError:
            return ""
        if size > most_bytes:
            content = content.partition(b"\n")[2] or content
        return content.decode("utf-8", errors="replace")
