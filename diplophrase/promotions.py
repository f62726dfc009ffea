"""`models/promotions.jsonl`: every decision on which version answers, refused ones too.

Lines are only ever added, by one process at a time, each line whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from diplophrase.errors import DiplophraseError

FILE = "promotions.jsonl"
_LOCK = ".promotions.lock"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class Promotion(BaseModel):
    """One decision: `by` whom the version `to` was to follow the version `before`, and what came.

    `verdict` is the gate's: "not compared" where there was nothing to compare with, or a rollback.
    `outcome` is "failed" if the version had passed or was forced but could not be made current.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    time: AwareDatetime = Field(default_factory=_now)
    action: Literal["promote", "rollback"]
    before: str | None = Field(
        validation_alias=AliasChoices("from", "before"), serialization_alias="from"
    )
    to: str
    verdict: Literal["pass", "fail", "not compared"]
    outcome: Literal["promoted", "refused", "failed"]
    reasons: tuple[str, ...] = ()
    forced: str | None = None
    by: str
    figures: dict[str, Any] | None = None

    def to_line(self) -> bytes:
        """Return the decision as a line of JSON."""
        return f"{self.model_dump_json(by_alias=True)}\n".encode()


def read_promotions(models: str | Path) -> list[Promotion]:
    """Return all decisions, the oldest first; none if none was recorded yet.

    A last line without its end was never acknowledged, and is left out.

    Raises:
        DiplophraseError: `storage`, naming the line, if the file cannot be read.
    """
    path = Path(models) / FILE
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _storage(path, "read", error) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Promotion.model_validate_json(line))
        except ValidationError as error:
            raise DiplophraseError(
                f"{path}, line {number} is no decision: {error.errors()[0]['msg']}. Mend the "
                f"line; `diplophrase models promote` works meanwhile, going back does not.",
                kind="storage",
            ) from None
    return found


def earlier_version(decisions: Sequence[Promotion], current: str | None) -> str | None:
    """Return the version that answered before `current`, None if the decisions know of none.

    A rollback takes the last promotion back, so that two of them go back two. Where CURRENT was
    moved by hand the decisions say otherwise than it does: moved to the version before, it counts
    as a rollback; moved anywhere else, as a promotion.
    """
    answered: list[str] = []
    for decision in decisions:
        if decision.outcome == "promoted":
            _moved_by_hand(answered, decision.before)
            if decision.action == "rollback":
                answered[-2:] = [decision.to]
            elif answered[-1:] != [decision.to]:
                answered.append(decision.to)
    _moved_by_hand(answered, current)
    return answered[-2] if len(answered) > 1 else None


def _moved_by_hand(answered: list[str], version: str | None) -> None:
    if version is None or answered[-1:] == [version]:
        return
    if answered[-2:-1] == [version]:
        answered.pop()
    else:
        answered.append(version)


@contextmanager
def deciding(models: str | Path) -> Iterator[PromotionLog]:
    """Yield the log of a folder of models while no other process writes to it or moves CURRENT.

    Raises:
        DiplophraseError: `storage` if the folder cannot be written.
    """
    models = Path(models)
    try:
        lock = os.open(models / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _storage(models / _LOCK, "written", error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield PromotionLog(models / FILE)
    finally:
        os.close(lock)  # gives the lock back


class PromotionLog:
    """The file of decisions, for the one process that may write to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, decision: Promotion) -> int:
        """Add a decision, on disk when this returns; return where its line starts, in bytes.

        Raises:
            DiplophraseError: `storage` if it cannot be written; the file is as it was.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                return _append(descriptor, decision.to_line())
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _storage(self.path, "written", error) from error

    def take_back(self, start: int) -> None:
        """Take back the decision whose line starts at that byte, the last one."""
        os.truncate(self.path, start)


def _append(descriptor: int, line: bytes) -> int:
    """Write a line after the last whole one; what a crash left after that goes."""
    size = os.fstat(descriptor).st_size
    start = os.pread(descriptor, size, 0).rfind(b"\n") + 1
    os.ftruncate(descriptor, start)
    try:
        written = os.pwrite(descriptor, line, start)
        while written < len(line):
            written += os.pwrite(descriptor, line[written:], start + written)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, start)
        raise
    return start


def _storage(path: Path, done: str, error: OSError) -> DiplophraseError:
    return DiplophraseError(
        f"{path} cannot be {done}: {error.strerror or error}. CURRENT is as it was; mend that and "
        f"try again.",
        kind="storage",
    )
