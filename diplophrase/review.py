"""Which sentences are most worth a person's look: a pure ranking by a stated mix.

Four reasons make a sentence worth a look, each from 0 to 1:

- uncertainty: some label's score stands close to its threshold (D. D. Lewis and W. A. Gale, "A
  Sequential Algorithm for Training Text Classifiers", SIGIR 1994);
- disagreement: a hand label says otherwise than the model, and by how much;
- rarity: it may carry a label that has few positives;
- diversity: it is unlike what is known and what was chosen before it, by greedy k-centre (O. Sener
  and S. Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR
  2018).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Flags = npt.NDArray[np.bool_]
_LEAST = 1e-6  # keeps a threshold of 0 or 1 from dividing by zero


@dataclass(frozen=True, slots=True)
class Mix:
    """How much each reason counts. The one place where the weights stand."""

    uncertainty: float = 0.4
    disagreement: float = 0.3
    rarity: float = 0.1
    diversity: float = 0.2


MIX = Mix()


@dataclass(frozen=True, slots=True)
class Ranked:
    """A sentence that was chosen: its row, its value, and each reason's part from 0 to 1."""

    row: int
    value: float
    uncertainty: float
    disagreement: float
    rarity: float
    diversity: float

    def reasons(self) -> dict[str, float]:
        """Return the four parts by name, rounded to four places."""
        parts = asdict(self)
        return {name: round(parts[name], 4) for name in asdict(MIX)}


def rank(
    scores: Floats,
    thresholds: Floats,
    embeddings: Floats,
    support: Floats,
    *,
    count: int,
    given: Flags | None = None,
    labelled: Flags | None = None,
    known: Floats | None = None,
    mix: Mix = MIX,
) -> list[Ranked]:
    """Choose up to `count` of N sentences, the one most worth a look first.

    The same input gives the same order; of two sentences that are worth the same, the one that
    stands first comes first.

    Args:
        scores: calibrated scores [N, L] of L labels.
        thresholds: the scores [L] from which the labels are given.
        embeddings: sentence embeddings [N, H].
        support: hand-labelled positives [L] of each label.
        count: how many sentences to choose.
        given: hand labels [N, L]; rows that are not `labelled` are not looked at.
        labelled: which rows [N] have hand labels; none without it.
        known: embeddings [K, H] of sentences that need no other like them.
        mix: how much each reason counts.
    """
    if labelled is None or given is None:
        labelled, given = np.zeros(len(scores), bool), np.zeros(scores.shape, bool)
    parts = {
        "uncertainty": uncertainty(scores, thresholds),
        "disagreement": np.where(labelled, disagreement(scores, thresholds, given), 0.0),
        "rarity": rarity(scores, thresholds, support),
    }
    fixed = np.zeros(len(scores))
    for name, values in parts.items():
        fixed += getattr(mix, name) * values
    units = _unit(embeddings)
    gaps = _gaps(units, _unit(known)) if known is not None and len(known) else np.ones(len(units))
    left = np.ones(len(scores), bool)
    chosen = []
    for _ in range(min(count, len(scores))):
        # rounded, so that the last bits of a sum do not decide an order
        values = np.round(fixed + mix.diversity * gaps, 9)
        row = int(np.argmax(np.where(left, values, -np.inf)))
        shares = {name: float(value[row]) for name, value in parts.items()}
        chosen.append(Ranked(row, float(values[row]), **shares, diversity=float(gaps[row])))
        left[row] = False
        gaps = np.minimum(gaps, _gaps(units, units[row : row + 1]))
    return chosen


def uncertainty(scores: Floats, thresholds: Floats) -> Floats:
    """Return for each sentence [N] how close its least sure label is to its threshold.

    1 is on a threshold; 0 is when every score is 0 or 1.
    """
    return np.asarray(np.max(1.0 - _distance(scores, thresholds), axis=1, initial=0.0))


def disagreement(scores: Floats, thresholds: Floats, given: Flags) -> Floats:
    """Return for each sentence [N] how far the model is from the hand labels `given` [N, L].

    0 is the same labels; 1 is a label given with score 1 that the hand did not give, or the other
    way round.
    """
    differs = (scores >= thresholds) != given
    return np.asarray(np.max(np.where(differs, _distance(scores, thresholds), 0.0), 1, initial=0.0))


def rarity(scores: Floats, thresholds: Floats, support: Floats) -> Floats:
    """Return for each sentence [N] how rare the rarest label is that it may carry.

    A label weighs 1 / sqrt(1 + positives), the rarest of them 1; it counts fully from its
    threshold on, and in proportion below it.
    """
    weights = 1.0 / np.sqrt(1.0 + np.asarray(support, dtype=np.float64))
    weights = weights / np.max(weights, initial=_LEAST)
    likely = np.minimum(1.0, scores / np.maximum(thresholds, _LEAST))
    return np.asarray(np.max(likely * weights, axis=1, initial=0.0))


def _distance(scores: Floats, thresholds: Floats) -> Floats:
    """Return how far [N, L] each score is on its way from the threshold to 0 or to 1."""
    room = np.where(scores >= thresholds, 1.0 - thresholds, thresholds)
    gone = np.abs(scores - thresholds) / np.maximum(room, _LEAST)
    return np.asarray(np.clip(gone, 0.0, 1.0))


def _unit(embeddings: Floats) -> Floats:
    lengths = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, _LEAST))


def _gaps(units: Floats, others: Floats) -> Floats:
    """Return the cosine distance [N], 1 at most, of each sentence to the nearest of `others`."""
    nearest = np.max(units @ others.T, axis=1)
    return np.asarray(np.clip(1.0 - nearest, 0.0, 1.0))
