"""Which fold an added annotation is in, so that it may be learnt from and measured on as well.

The folds of the seeds are never changed by it: versions stay comparable on the seeds. An added
sentence that says nearly what a seed says joins that seed's fold; the sentences of one source
document, and those that say nearly the same, stay together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import Annotation
from training.folds import near_duplicates


@dataclass(frozen=True, slots=True)
class AddedFolds:
    """For N added annotations: the fold that each is measured in, and those it may not train."""

    folds: npt.NDArray[np.int64]  # [N], -1 for one that is never measured
    barred: npt.NDArray[np.bool_]  # [N, folds]

    def rows(self, fold: int) -> npt.NDArray[np.int64]:
        """Return the annotations that train in a fold."""
        return np.flatnonzero(~self.barred[:, fold])


def assign_added(
    added: Sequence[Annotation],
    seeds: Sequence[Annotation],
    authored: Sequence[Annotation],
    folds: npt.NDArray[np.int64],
) -> AddedFolds:
    """Give each added annotation its fold; `folds` [M] are those of the seeds.

    A group that is near seeds of several folds trains in none of them, and is measured in the
    first. A sentence that stands in the authored ones too, which every fold learns from, trains
    but is never measured.
    """
    count = int(folds.max()) + 1
    groups = _group(added)
    barred = np.zeros((len(added), count), dtype=bool)
    home = {seed.text: row for row, seed in enumerate(seeds)}
    same = [(home[note.text], len(seeds) + k) for k, note in enumerate(added) if note.text in home]
    for one, other in [*near_duplicates([*seeds, *added]), *same]:
        if one < len(seeds) <= other:
            rows = [row for row, group in enumerate(groups) if group == groups[other - len(seeds)]]
            barred[rows, folds[one]] = True
    _deal(groups, barred)
    known = {annotation.text for annotation in authored}
    assigned = np.array(
        [
            -1 if annotation.text in known else int(np.argmax(row))
            for annotation, row in zip(added, barred, strict=True)
        ],
        dtype=np.int64,
    )
    return AddedFolds(assigned, barred)


def _group(added: Sequence[Annotation]) -> list[int]:
    """Return a group for each annotation: one a document, and near-duplicates together."""
    parent = list(range(len(added)))

    def root(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    homes: dict[str, int] = {}
    texts: dict[str, int] = {}
    pairs = near_duplicates(added)
    for row, annotation in enumerate(added):
        pairs.append((texts.setdefault(annotation.text, row), row))
        if annotation.source is not None:
            pairs.append((homes.setdefault(annotation.source.doc, row), row))
    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    return [root(row) for row in range(len(added))]


def _deal(groups: Sequence[int], barred: npt.NDArray[np.bool_]) -> None:
    """Bar each group that no seed has a claim on from the fold that holds the fewest sentences."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        rows[group].append(row)
    held = np.zeros(barred.shape[1], dtype=np.int64)
    for group in sorted(rows, key=lambda group: (-len(rows[group]), group)):
        if not barred[rows[group][0]].any():
            barred[rows[group], int(np.argmin(held))] = True
        held[int(np.argmax(barred[rows[group][0]]))] += len(rows[group])
