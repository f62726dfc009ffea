"""What older sentences say of a newer label: nothing, until they are looked at.

A sentence that was labelled before a label existed may hold it unmarked. Its absence there is
unknown, not "no". Yet a label that is learnt from a few dozen sentences needs to be told what it
is not, so reliable negatives are taken from the unknown ones (learning from positive and unlabelled
examples, two-step: Liu et al. 2003): a classifier of the known positives against all else, asked
out of fold, and only what it puts below nearly all of the known positives counts as "no".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from diplophrase.annotations import Annotation
from diplophrase.codebook import Codebook

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]
MIN_POSITIVES = 5  # with fewer, every sentence that may hold the label stays unknown
_PERCENTILE = 5.0  # of the known positives' scores; what lies above it stays unknown
_PARTS = 5


class PartlyKnown(Annotation):
    """An annotation of which it is not known whether it has the labels `unknown`."""

    unknown: tuple[str, ...]


def untold_labels(annotation: Annotation, codebook: Codebook) -> tuple[str, ...]:
    """Return the labels of which the annotation does not say whether the sentence has them."""
    return tuple(
        label
        for label in codebook.own
        if label not in annotation.labels and not codebook.knew(annotation.codebook, label)
    )


def known_cells(annotations: Sequence[Annotation], codebook: Codebook) -> Bools:
    """Return which labels [N, L] each annotation tells of."""
    untold = [set(untold_labels(annotation, codebook)) for annotation in annotations]
    return np.array([[label not in row for label in codebook.ids] for row in untold], dtype=bool)


def mark_unknown(
    annotations: Sequence[Annotation],
    codebook: Codebook,
    embed: Callable[[], Floats],
    *,
    seed: int,
) -> list[Annotation]:
    """Return the annotations, those marked whose labels stay unknown.

    `embed` gives the sentences' embeddings [N, H], and is asked only where there is a label of a
    user's own. Embeddings find sentences that say the same in other words.

    Where the same text was labelled again by a newer codebook, the older annotation stays unknown:
    the newer one tells.
    """
    if not codebook.own:
        return list(annotations)
    known = known_cells(annotations, codebook)
    embedded = embed()
    unknown: list[list[str]] = [[] for _ in annotations]
    for label in codebook.own:
        column = codebook.ids.index(label)
        positive = np.array([label in annotation.labels for annotation in annotations])
        untold = ~known[:, column]
        told = {a.text for a, t in zip(annotations, untold, strict=True) if not t}
        again = np.array([annotation.text in told for annotation in annotations])
        kept = untold & (again | ~_reliable(embedded, positive, seed))
        for row in np.flatnonzero(kept):
            unknown[row].append(label)
    return [
        PartlyKnown(**dict(annotation), unknown=tuple(labels)) if labels else annotation
        for annotation, labels in zip(annotations, unknown, strict=True)
    ]


def _reliable(embedded: Floats, positive: Bools, seed: int) -> Bools:
    """Return which texts [N] look less like the label than nearly all that are known to have it."""
    if positive.sum() < MIN_POSITIVES:
        return np.zeros(len(positive), dtype=bool)
    scores = np.zeros(len(positive))
    part = np.random.default_rng(seed).permutation(len(positive)) % _PARTS
    part[positive] = np.arange(positive.sum()) % _PARTS
    for number in range(_PARTS):
        held = part == number
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
        model.fit(embedded[~held], positive[~held])
        scores[held] = model.decision_function(embedded[held])
    return np.asarray(scores < np.percentile(scores[positive], _PERCENTILE))
