"""Versions with answers out of fold, made from the committed bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diplophrase.annotations import read_annotations
from diplophrase.bundle import (
    CONTROL,
    MANIFEST,
    PREDICTIONS,
    Bundle,
    current_bundle,
    load_bundle,
    sha256_of,
)

ROOT = Path(__file__).parents[1]
COMMITTED = current_bundle(ROOT / "models")
Row = dict[str, Any]
Change = Callable[[list[Row]], None]


def committed_predictions() -> list[Row]:
    """Return the committed bundle's answers out of fold: its own, or as its mistakes tell."""
    own = COMMITTED / PREDICTIONS
    if own.is_file():
        return [json.loads(line) for line in own.read_text(encoding="utf-8").splitlines()]
    metrics = json.loads((COMMITTED / "metrics.json").read_text(encoding="utf-8"))
    labels = [label.id for label in load_bundle(COMMITTED).config.labels]
    wrong: dict[str, set[str]] = {}
    for mistake in metrics["mistakes"]["all"]:
        wrong.setdefault(mistake["id"], set()).add(mistake["label"])
    rows = []
    for note in read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl"):
        given = set(note.labels) ^ wrong.get(note.id, set())
        rows.append(
            {
                "id": note.id,
                "fold": metrics["folds"][note.id],
                "gold": list(note.labels),
                "given": [label for label in labels if label in given],
                "scores": {label: 0.95 if label in given else 0.02 for label in labels},
            }
        )
    return rows


def recall(label: str, change: Change | None = None) -> tuple[float, int]:
    """Return the share of a label's sentences that the committed bundle finds, and their number.

    `change` alters the answers as in `measured_version`.
    """
    rows = committed_predictions()
    if change is not None:
        change(rows)
    found = [label in row["given"] for row in rows if label in row["gold"]]
    return sum(found) / len(found), len(found)


def measured_version(models: Path, name: str, change: Change | None = None) -> Path:
    """Add the committed bundle to `models` as `name`, with answers that `change` may alter.

    Its large files are links.
    """
    rows = committed_predictions()
    if change is not None:
        change(rows)
    folder = models / name
    folder.mkdir(parents=True)
    for file in COMMITTED.iterdir():
        if file.name not in ("config.json", MANIFEST, PREDICTIONS):
            (folder / file.name).symlink_to(file)
    config = json.loads((COMMITTED / "config.json").read_text(encoding="utf-8"))
    _write_json(folder / "config.json", {**config, "model_version": name})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / PREDICTIONS).write_text(lines, encoding="utf-8")
    seal(folder)
    return folder


def fast_version(
    models: Path, name: str, change: Change | None = None, *, encoder: str = "e", of: str = "old"
) -> Path:
    """Add a version as `measured_version` does that says it is fast; its control is unchanged.

    `encoder` is the name of its encoder, `of` the full version that this is from.
    """
    folder = measured_version(models, name, change)
    lines = "".join(f"{json.dumps(row)}\n" for row in committed_predictions())
    (folder / CONTROL).write_text(lines, encoding="utf-8")
    network = sha256_of(models / of / "model.onnx") if (models / of).is_dir() else "0" * 64
    origin = {"version": of, "network": network, "encoder": encoder, "added": []}
    seal(folder, fast=True, origin=origin)
    return folder


def seal(folder: Path, **facts: Any) -> Bundle:
    """Write the hashes of the files that are there, and `facts`, and load what they make."""
    names = [path.name for path in folder.iterdir() if path.name != MANIFEST]
    hashes = {name: sha256_of(folder / name) for name in names}
    _write_json(folder / MANIFEST, {"files": hashes, **facts})
    return load_bundle(folder)


def _write_json(path: Path, content: Row) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def miss(label: str, share: float) -> Change:
    """Return a change that lets a version miss that share of a label's sentences, spread out."""

    def change(rows: list[Row]) -> None:
        held = [row for row in rows if label in row["gold"] and label in row["given"]]
        count = round(share * len(held))
        for place in range(count):
            held[place * len(held) // count]["given"].remove(label)

    return change
