"""Drafts, entries and a small codebook for the tests of the label store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from diplophrase.codebook import load_codebook
from serving.store.database import Database, parse_url
from serving.store.drafts import Entry, gather
from serving.store.store import LabelStore

ROOT = Path(__file__).parents[2]
CODEBOOK = load_codebook(ROOT / "labels" / "codebook.yaml")
CREATED = "2026-11-22T00:00:00.000000Z"


def draft(number: int, annotator: str = "ada", **fields: Any) -> dict[str, Any]:
    """Return the numbered draft; each number has a text of its own, with one label."""
    text = f"Both sides will widen trade and investment in {number} ports."
    given = {"text": text, "labels": ["economic_cooperation"], "annotator": annotator}
    return {**given, "evidence": {"economic_cooperation": "trade and investment"}, **fields}


def plain(number: int, annotator: str = "ada", **fields: Any) -> dict[str, Any]:
    """Return a draft of the same text that gives no label."""
    return draft(number, annotator, **{"labels": [], "evidence": {}, **fields})


def entries(*drafts: dict[str, Any]) -> list[Entry]:
    gathered = gather(list(enumerate(drafts)), CODEBOOK, max_characters=5000, created=CREATED)
    assert gathered.faults == []
    return gathered.entries


def open_store(url: str) -> LabelStore:
    return LabelStore(Database(parse_url(url, Path())))


def texts_of(store: LabelStore) -> list[str]:
    return [stored.annotation.text for stored in store.all()]


def make_labels(folder: Path, *names: str) -> Path:
    """Make a folder of labels with our codebook and these files of annotations."""
    (folder / "annotations").mkdir(parents=True)
    shutil.copy(ROOT / "labels" / "codebook.yaml", folder)
    for name in names:
        shutil.copy(ROOT / "labels" / "annotations" / name, folder / "annotations")
    return folder
