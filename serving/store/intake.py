"""Rows of a file on their way into the store."""

from __future__ import annotations

from diplophrase.codebook import load_codebook
from diplophrase.settings import Settings
from serving.store.drafts import Entry, gather
from serving.store.formats import Rows, rows_error
from serving.store.records import now


def gather_rows(name: str, rows: Rows, settings: Settings, annotator: str | None) -> list[Entry]:
    """Return the rows of the file `name` as entries; `annotator` labelled those that do not say.

    Raises:
        InvalidData: naming every fault by its row, or if the codebook cannot be read.
    """
    codebook = load_codebook(settings.labels / "codebook.yaml")
    if annotator is not None:
        rows = [
            (index, {**row, "annotator": row.get("annotator") or annotator})
            if isinstance(row, dict)
            else (index, row)
            for index, row in rows
        ]
    gathered = gather(rows, codebook, max_characters=settings.max_characters, created=now())
    if gathered.faults:
        raise rows_error(name, gathered.faults)
    return gathered.entries
