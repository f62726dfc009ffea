"""What of the store goes into training: `labels/annotations/added.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diplophrase.annotations import Annotation, data_hash, read_annotations, write_annotations
from diplophrase.errors import InvalidData
from serving.store.conflicts import Claim, ReferenceFiles
from serving.store.store import LabelStore

ADDED = "added.jsonl"


@dataclass(frozen=True, slots=True)
class TrainingExport:
    """What was written, its sha256, and what stayed out."""

    path: Path
    annotations: int
    data_hash: str
    conflicts: dict[str, list[Claim]]
    known: int


def export_to_training(store: LabelStore, labels: Path) -> TrainingExport:
    """Write the annotations of the store that training may take, each text once.

    Texts in conflict stay out until they are settled. So do texts that stand in our own files:
    they are learnt already, and a seed must not be learnt while it measures. If several agree on a
    text, the newest word counts for its evidence.

    Raises:
        InvalidData: if the file there holds lines that the store never had.
        DiplophraseError: `storage` if the file cannot be written.
    """
    path = labels / "annotations" / ADDED
    _keep_foreign(store, path)
    references = ReferenceFiles(labels).claims()
    stored = sorted(store.all(), key=lambda item: item.event)
    conflicts = store.conflicts(references)
    known = {item.key for item in stored if item.key in references} - conflicts.keys()
    newest: dict[str, Annotation] = {
        item.key: item.annotation
        for item in stored
        if item.key not in conflicts and item.key not in known
    }
    write_annotations(path, newest.values())
    digest = data_hash(list(newest.values()))
    return TrainingExport(path, len(newest), digest, conflicts, len(known))


def _keep_foreign(store: LabelStore, path: Path) -> None:
    """Refuse to replace a file with lines that nobody could get back."""
    if not path.is_file():
        return
    notes = read_annotations(path)
    unknown = [note.id for note in store.unknown(notes)]
    if unknown:
        raise InvalidData(
            f"{path} holds {len(unknown)} annotation(s) that the label store never had: "
            f"{', '.join(unknown[:20])}. Take them in first: diplophrase labels import {path}"
        )
