"""Kill scoring runs with SIGKILL at random moments and hold the end against an unbroken run.

As a program: `python tests/e2e/kills.py --kills 200` prints runs, kills and differences.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAM = "from diplophrase.command import main; main()"
_ENDINGS = ("", ".rejected.jsonl", ".manifest.json")


@dataclass
class Tally:
    """What happened: processes started, those killed, outputs that ended, files that differed."""

    runs: int = 0
    kills: int = 0
    outputs: int = 0
    resumed: int = 0  # kills after which some parts stood already
    differences: int = 0


def make_archive(path: Path, rows: int, seed: int) -> None:
    """Write seed sentences as JSON lines; some repeat, every 23rd row is bad."""
    sys.path.insert(0, str(ROOT))
    from diplophrase.annotations import read_annotations

    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    chance = random.Random(seed)
    texts = [chance.choice(notes).text for _ in range(rows)]
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            found = text if number % 23 else None
            file.write(json.dumps({"number": number, "text": found}) + "\n")


def start(archive: Path, output: Path, options: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a run that scores `archive` into `output`."""
    arguments = ["score", str(archive), "--output", str(output), *options]
    command = [sys.executable, "-c", _PROGRAM, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run to end well."""
    _, errors = process.communicate(timeout=600)
    if process.returncode != 0:
        raise RuntimeError(errors.decode())


def contents(output: Path, summary: bool) -> dict[str, bytes]:
    """Return the bytes of all that a run leaves, by ending."""
    paths = {ending: output.with_name(output.name + ending) for ending in _ENDINGS}
    if summary:
        paths["summary"] = output.with_name("summary.csv")
    return {ending: path.read_bytes() for ending, path in paths.items()}


def kill_and_compare(
    folder: Path, *, kind: str, kills: int, rows: int, part_rows: int, seed: int, documents: bool
) -> Tally:
    """Score one archive unbroken, then again and again with kills, until there were `kills`.

    A kill comes at a moment drawn evenly from the time that the unbroken run took.
    """
    archive = folder / "archive.jsonl"
    make_archive(archive, rows, seed)
    options = ["--part-rows", str(part_rows)]
    chance, tally = random.Random(seed), Tally()
    expected: dict[str, bytes] = {}
    unbroken_s = 0.0
    while tally.kills < kills or not expected:
        place = folder / f"run{tally.outputs}"
        place.mkdir()
        extra = ["--documents", "--summary", "summary.csv"] if documents else []
        if extra:
            extra[-1] = str(folder / "summary.csv")  # one name, as it is part of the options
        output = place / f"out.{kind}"
        begun = time.monotonic()
        while expected and tally.kills < kills:
            if not _killed(archive, output, [*options, *extra], chance.uniform(0, unbroken_s)):
                tally.runs += 1
                break
            tally.runs, tally.kills = tally.runs + 1, tally.kills + 1
            tally.resumed += _parts_done(output)
        else:
            finish(start(archive, output, [*options, *extra]))
            tally.runs += 1
        if documents:
            (folder / "summary.csv").rename(place / "summary.csv")
        found = contents(output, documents)
        tally.outputs += 1
        if not expected:
            expected, unbroken_s = found, time.monotonic() - begun
        tally.differences += sum(found[name] != expected[name] for name in expected)
    return tally


def _killed(archive: Path, output: Path, options: Sequence[str], delay_s: float) -> bool:
    """Start a run and kill it after `delay_s`; False if it had ended by then."""
    process = start(archive, output, options)
    try:
        process.communicate(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    if process.returncode != 0:
        raise RuntimeError(f"a run that was not killed ended with {process.returncode}")
    return False


def _parts_done(output: Path) -> bool:
    manifest = output.with_name(output.name + ".parts") / "manifest.jsonl"
    return manifest.exists() and manifest.read_bytes().count(b"\n") > 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="for each format")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--part-rows", type=int, default=50)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    for kind, documents in (("jsonl", False), ("csv", False), ("parquet", False), ("jsonl", True)):
        with tempfile.TemporaryDirectory() as folder:
            tally = kill_and_compare(
                Path(folder),
                kind=kind,
                kills=given.kills,
                rows=given.rows,
                part_rows=given.part_rows,
                seed=given.seed,
                documents=documents,
            )
        print(f"{kind}{' of documents' if documents else ''}: {tally}", flush=True)


if __name__ == "__main__":
    main()
