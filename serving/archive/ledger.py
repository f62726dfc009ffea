"""What is done so far: a lock, the manifest of parts, and the refusal of a changed job."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diplophrase.errors import InvalidData, InvalidRequest
from serving.archive.write import write_whole

SCHEMA_VERSION = 1


def beside(output: Path, ending: str) -> Path:
    """Return the path of a file that goes with `output`, such as OUT.rejected.jsonl."""
    return output.with_name(output.name + ending)


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold OUT.lock; the system lets go of it however the process ends.

    Raises:
        InvalidRequest: if another run holds it.
    """
    path = beside(output, ".lock")
    while True:
        file = path.open("a", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise InvalidRequest(
                f"Another run writes {output} (it holds {path}). "
                f"Wait until it has ended, or choose another --output."
            ) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # the holder before removed the file between our two calls
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()


class Ledger:
    """The folder OUT.parts with the parts done; `manifest.jsonl` has the job, then a line a part.

    A line is added when its part's files are whole and in place. A part whose line is missing is
    made again, which gives the same bytes.
    """

    def __init__(self, output: Path, job: dict[str, Any]) -> None:
        self.output = output
        self.folder = beside(output, ".parts")
        self.final = beside(output, ".manifest.json")
        self.job = job
        self.done: dict[int, dict[str, Any]] = {}
        self._manifest = self.folder / "manifest.jsonl"

    @property
    def finished(self) -> bool:
        return self.final.exists() and self.output.exists()

    def refuse_foreign(self, paths: Iterable[Path]) -> None:
        """Refuse to replace files that an earlier run for this output did not make.

        Raises:
            InvalidRequest: naming the first of them.
        """
        ours = self._made_before()
        for path in paths:
            if path.exists() and path.resolve() not in ours:
                raise InvalidRequest(
                    f"{path} is there and was not made by a run for the output {self.output}. "
                    f"Choose another name, or take the file away by hand."
                )

    def _made_before(self) -> set[Path]:
        if self.final.exists():
            job = _read_json(self.final)["job"]
        elif self._manifest.exists():
            job = json.loads(self._manifest.read_bytes().partition(b"\n")[0])["job"]
        else:
            return set()
        named = [self.output, beside(self.output, ".rejected.jsonl")]
        if summary := job["options"].get("summary"):
            named.append(Path(summary))
        return {path.resolve() for path in named}

    def open(self, *, restart: bool) -> None:
        """Begin, or go on where a run before stopped.

        Raises:
            InvalidRequest: if what is there belongs to another job, or to no run of ours.
        """
        if restart:
            self.final.unlink(missing_ok=True)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.output.unlink(missing_ok=True)
        if self.final.exists():
            content = _read_json(self.final)
            self._check(content["job"])
            self.done = {entry["part"]: entry for entry in content["parts"]}
            if self.output.exists():
                shutil.rmtree(self.folder, ignore_errors=True)
                return
            raise InvalidRequest(
                f"{self.final} says that {self.output} is whole, but it is gone. "
                f"Give --restart to make it again."
            )
        if self._manifest.exists():
            self._resume()
        elif self.output.exists():
            raise InvalidRequest(
                f"{self.output} is there and is not the work of this command. "
                f"Choose another --output, or give --restart to replace it."
            )
        else:
            self._begin()

    def _begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"job": self.job}) + "\n"
        write_whole(self._manifest, lambda file: file.write(line.encode()))

    def _resume(self) -> None:
        content = self._manifest.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # killed within a line: that part is made again
            with self._manifest.open("r+b") as file:
                file.truncate(len(whole))
        first, *lines = [json.loads(line) for line in whole.splitlines()]
        self._check(first["job"])
        self.done = {entry["part"]: entry for entry in lines}

    def _check(self, before: dict[str, Any]) -> None:
        changes = [
            f"{name}: then {_brief(before.get(name))}, now {_brief(self.job[name])}"
            for name in self.job
            if before.get(name) != self.job[name]
        ]
        if changes:
            listed = "\n  ".join(changes)
            raise InvalidRequest(
                f"{self.output} was begun by a run that differs:\n  {listed}\n"
                f"Run it as it was begun, choose another --output, or give --restart to begin anew."
            )

    def verify(self, part: int, digest: str) -> bool:
        """Tell whether a part is done already.

        Raises:
            InvalidData: if it was made of other rows.
        """
        entry = self.done.get(part)
        if entry is None:
            if self.finished:
                raise self._changed(part)
            return False
        if entry["digest"] != digest:
            raise self._changed(part)
        return True

    def _changed(self, part: int) -> InvalidData:
        return InvalidData(
            f"The input differs from what {self.output} was begun with, from part {part} on. "
            f"Give the input as it was, or --restart to begin anew."
        )

    def check_end(self, parts: int) -> None:
        """Refuse an input that has ended before the parts that are done.

        Raises:
            InvalidData: saying so.
        """
        if any(number >= parts for number in self.done):
            raise self._changed(parts)

    def record(self, entry: dict[str, Any]) -> None:
        """Add the line of a part whose files are in place."""
        with self._manifest.open("ab") as file:
            file.write((json.dumps(entry) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self.done[entry["part"]] = entry

    def finish(self) -> None:
        """Say that the output is whole, and remove the parts."""
        entries = [self.done[number] for number in sorted(self.done)]
        content = json.dumps({"job": self.job, "parts": entries}, indent=1) + "\n"
        write_whole(self.final, lambda file: file.write(content.encode()))
        shutil.rmtree(self.folder, ignore_errors=True)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRequest(
            f"{path} is not JSON: {error}. Give --restart to begin anew."
        ) from None
    return content


def _brief(value: object) -> str:
    """Return a value for a message; of a long list of files only how many there are."""
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"
