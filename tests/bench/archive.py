"""`diplophrase.score` against the classifier in process; memory and rate over a large archive."""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from in_process import ROOT, rate

import diplophrase
from diplophrase.annotations import read_annotations
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier

_TENTHS = 10


def recombined(count: int, seed: int) -> Iterator[str]:
    """Yield sentences made of the seeds' clauses: the first half of one, the second of another."""
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    words = [text.split() for text in dict.fromkeys(note.text for note in notes)]
    chance = random.Random(seed)
    for _ in range(count):
        first, second = chance.choice(words), chance.choice(words)
        yield " ".join(first[: (len(first) + 1) // 2] + second[len(second) // 2 :])


def unique(count: int, seed: int) -> list[str]:
    """Return `count` recombined sentences, no two alike."""
    found: dict[str, None] = {}
    for text in recombined(count * 4, seed):
        found.setdefault(text)
        if len(found) == count:
            break
    return list(found)


def compare_rates(texts: list[str], rounds: int, folder: Path) -> tuple[float, float]:
    """Return the rates of the classifier and of scoring into a file, in turn, best of each."""
    classifier = Classifier.load(current_bundle(ROOT / "models"), runners=2)
    classifier.classify(texts[:200])
    source = folder / "unique.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    inside = offline = 0.0
    for _ in range(rounds):
        inside = max(inside, rate(lambda: classifier.classify(texts), len(texts), 1))
        counts = diplophrase.score(
            source, folder / "o.parquet", models=ROOT / "models", workers=2, restart=True
        )
        offline = max(offline, counts.sentences_per_second)
    return inside, offline


def write_archive(path: Path, rows: int, seed: int) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(recombined(rows, seed)))


def resident_mb(process: int) -> float:
    """Return the resident memory of a process, in megabytes; 0 once it has ended."""
    try:
        with open(f"/proc/{process}/status", encoding="ascii") as status:
            line = next((line for line in status if line.startswith("VmRSS")), "VmRSS: 0")
    except FileNotFoundError:
        return 0.0
    return int(line.split()[1]) / 1000


def parts_done(manifest: Path) -> int:
    """Return how many parts a run has noted; 0 before it begins and after it has joined them."""
    try:
        return max(manifest.read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


def watch(source: Path, output: Path, rows: int, part_rows: int) -> None:
    """Score `source` in a process of its own; print seconds and memory of each tenth."""
    arguments = ["score", str(source), "--output", str(output), "--part-rows", str(part_rows)]
    program = "from diplophrase.command import main; main()"
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT)
    manifest = Path(f"{output}.parts") / "manifest.jsonl"
    parts = -(-rows // part_rows)
    marks = [max(1, parts * k // _TENTHS) for k in range(1, _TENTHS + 1)]
    last_s, last_parts, highest, peak = time.monotonic(), 0, 0.0, 0.0
    while process.poll() is None:
        memory = resident_mb(process.pid)
        highest, peak = max(highest, memory), max(peak, memory)
        done = parts_done(manifest)
        if not done:
            last_s = time.monotonic()  # the clock starts with the first part's end
        elif not last_parts and done == 1:
            last_s, last_parts = time.monotonic(), done
        if done >= marks[0]:
            now = time.monotonic()
            speed = (done - last_parts) * part_rows / (now - last_s)
            print(f"{done * part_rows:>9} rows: {speed:6.0f} rows/s, highest {highest:.0f} MB")
            last_s, last_parts, highest = now, done, 0.0
            marks = [mark for mark in marks if mark > done] or [sys.maxsize]
        time.sleep(0.2)
    print(f"peak {peak:.0f} MB, exit {process.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unique", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000, help="0 leaves this part out")
    parser.add_argument("--part-rows", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.unique:
            texts = unique(given.unique, given.seed)
            inside, offline = compare_rates(texts, given.rounds, folder)
            print(f"unique texts: classifier {inside:.0f}/s, score {offline:.0f}/s", end=", ")
            print(f"ratio {offline / inside:.2f}", flush=True)
        if given.rows:
            write_archive(folder / "in.csv", given.rows, given.seed)
            watch(folder / "in.csv", folder / "out.parquet", given.rows, given.part_rows)


if __name__ == "__main__":
    main()
