"""Texts that are labelled one way here and another way there: listed, never overwritten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from diplophrase.annotations import Annotation, read_annotations, text_key
from diplophrase.codebook import own_labels_in

FILES = ("seeds.jsonl", "authored.jsonl")


@dataclass(frozen=True, slots=True)
class Claim:
    """Which labels somebody, or a file, gives a text; `id` is that of the annotation.

    `own` are the labels of a user's own that the codebook had by which the text was labelled.
    """

    by: str
    id: str
    labels: tuple[str, ...]
    own: frozenset[str] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return the claim as it stands in JSON."""
        return {"by": self.by, "id": self.id, "labels": list(self.labels)}


def stamp_of(paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return what changes when one of the files does; OSError if one is not there."""
    states = {path: path.stat() for path in paths}
    return {path: (state.st_mtime_ns, state.st_size) for path, state in states.items()}


References = Mapping[str, Claim]  # text key -> what our own files say of it


class ReferenceFiles:
    """The annotations beside the store, read again when their files change."""

    def __init__(self, labels: Path) -> None:
        self._paths = [labels / "annotations" / name for name in FILES]
        self._stamp: object = None
        self._notes: dict[str, list[Annotation]] = {}

    def read(self) -> dict[str, list[Annotation]]:
        """Return the annotations of each file that is there, by its name.

        Raises:
            InvalidData: if a file is no file of annotations.
        """
        there = [path for path in self._paths if path.is_file()]
        stamp = stamp_of(there)
        if stamp != self._stamp:
            self._notes = {path.name: read_annotations(path) for path in there}
            self._stamp = stamp
        return self._notes

    def claims(self) -> dict[str, Claim]:
        """Return what the files say of each text, the first file's word before the second's."""
        found: dict[str, Claim] = {}
        for name, notes in self.read().items():
            for note in notes:
                own = own_labels_in(note.codebook)
                claim = Claim(name, note.id, tuple(sorted(note.labels)), own)
                found.setdefault(text_key(note.text), claim)
        return found


def find_conflicts(
    claims: Iterable[tuple[str, Claim]], references: References
) -> dict[str, list[Claim]]:
    """Return all claims on each text, by its key, on whose labels they differ.

    `claims` are pairs of text key and claim; the reference, if there is one, comes first.
    """
    grouped: dict[str, list[Claim]] = {}
    for key, claim in claims:
        grouped.setdefault(key, []).append(claim)
    for key, found in grouped.items():
        if key in references:
            found.insert(0, references[key])
    return {key: found for key, found in grouped.items() if differ(found)}


def differ(claims: Sequence[Claim]) -> bool:
    """Tell whether two of the claims give different sets of labels.

    Of a label of a user's own, only a claim by a codebook that had it says anything.
    """
    return any(
        set(one.labels) - (one.own ^ other.own) != set(other.labels) - (one.own ^ other.own)
        for one, other in combinations(set(claims), 2)
    )
