"""What two versions answered out of fold, sentence beside sentence, where that can be compared.

A full version answers each seed unseen. The encoder of a fast version has seen the seeds, so that
its figures flatter: it is held against another on the same encoder, or, for the full version
that the encoder is from, against the control that was trained beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from diplophrase.bundle import CONTROL, Bundle
from diplophrase.errors import DiplophraseError
from diplophrase.figures import Answers, Paired, compare_answers
from diplophrase.origin import Origin, network_hash, read_origin
from diplophrase.predictions import Prediction, read_predictions

# What had not seen a sentence that is compared: the whole network, only its heads, or, as nothing
# can be said of both, only a test file tells.
Basis = Literal["network", "heads", "test"]
Side = dict[str, Prediction]
Origins = tuple[Origin | None, Origin | None]  # None of a version that was trained in full
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class OneSided:
    """A label that only one version knows: recall and F1 from 0 to 1 on its own answers.

    With a support of 0 the sentences do not tell of it, as of a user's own label.
    """

    label: str
    version: str
    support: int
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class PairedPredictions:
    """The sentences that two versions both answered out of fold, in the same order.

    There are none where the basis is "test".
    """

    basis: Basis
    rows: tuple[Sequence[Prediction], Sequence[Prediction]]

    @property
    def by(self) -> str:
        return "events" if any(row.event for side in self.rows for row in side) else "sentences"

    @property
    def relabelled(self) -> int:
        """Count the hand labels that were added or taken away between the versions."""
        pairs = zip(*self.rows, strict=True)
        return sum(len(set(one.gold) ^ set(other.gold)) for one, other in pairs)

    def compare(self, labels: Sequence[str]) -> Paired:
        """Return the figures on `labels`, which both versions know."""
        gold = label_table((row.gold for row in self.rows[1]), labels)
        answers = [
            Answers(
                label_table((row.given for row in side), labels),
                np.array([[row.scores[label] for label in labels] for row in side]),
            )
            for side in self.rows
        ]
        units = [
            other.event or one.event or other.id for one, other in zip(*self.rows, strict=True)
        ]
        return compare_answers(answers[0], answers[1], gold, labels, units)

    def only(self, bundle: Bundle, other: Bundle, *, side: int) -> list[OneSided]:
        """Return the labels that `bundle`, of that side, knows and `other` does not."""
        known = {label.id for label in other.config.labels}
        found = []
        for label in (label.id for label in bundle.config.labels if label.id not in known):
            gold = [label in row.gold for row in self.rows[side]]
            given = [label in row.given for row in self.rows[side]]
            hits, support = sum(map(min, gold, given)), sum(gold)
            f1 = 2 * hits / max(support + sum(given), 1)
            recall = hits / max(support, 1)
            found.append(OneSided(label, bundle.version, support, round(recall, 4), round(f1, 4)))
        return found


def pair_predictions(a: Bundle, b: Bundle, *, needed: bool = True) -> PairedPredictions:
    """Return what both versions answered out of fold, of the sentences that both have.

    Without `needed`, none where one is fast and does not share its encoder with the other.

    Raises:
        DiplophraseError: `not_comparable` if one has no answers out of fold, no sentence or label
            is common, a sentence is in another fold, or they do not share the encoder.
    """
    origins = read_origin(a), read_origin(b)
    reason = _find_apart(a, b, origins)
    if reason is not None and needed:
        raise DiplophraseError(reason, kind="not_comparable")
    if reason is not None:
        return PairedPredictions("test", ([], []))
    sides = _read_sides(a, b, origins)
    common = [key for key in sides[1] if key in sides[0]]
    if not common or not shared_labels(a, b):
        what = "sentence" if not common else "label"
        raise _not_comparable(f"{a.version} and {b.version} have no {what} in common.")
    moved = [key for key in common if sides[0][key].fold != sides[1][key].fold]
    if moved:
        raise _not_comparable(
            f"{len(moved)} of {len(common)} sentences are in other folds in {b.version} than in "
            f"{a.version}, such as {', '.join(moved[:_SHOWN])}: each version had learnt from "
            f"sentences that the other had not."
        )
    basis: Basis = "heads" if any(origins) else "network"
    rows = ([sides[0][key] for key in common], [sides[1][key] for key in common])
    return PairedPredictions(basis, rows)


def _find_apart(a: Bundle, b: Bundle, origins: Origins) -> str | None:
    """Return why the figures of the two cannot be held together, None if they can."""
    one, other = origins
    if one is None and other is None:
        return None
    if one is not None and other is not None:
        same = one.encoder == other.encoder
        whose = f"{a.version} that of {one.version}, {b.version} that of {other.version}"
    else:
        fast, full = (a, b) if other is None else (b, a)
        origin = one or other
        assert origin is not None
        same = origin.network == network_hash(full)
        whose = f"{fast.version} that of {origin.version}, {full.version} its own"
    if same:
        return None
    return (
        f"{a.version} and {b.version} rest on different encoders: {whose}. An encoder under heads "
        f"that were trained alone (--fast) has seen the sentences that such a version was measured "
        f"on, which flatters it. Give a test file of labelled sentences that neither has seen: "
        f"--data FILE, or the setting frozen_test."
    )


def _read_sides(a: Bundle, b: Bundle, origins: Origins) -> tuple[Side, Side]:
    """Return the answers of both; the control answers for the full version beside a fast one."""
    fast = [origin is not None for origin in origins]
    if fast == [True, False]:
        return read_predictions(a), _read_control(a, b)
    if fast == [False, True]:
        return _read_control(b, a), read_predictions(b)
    return read_predictions(a), read_predictions(b)


def _read_control(fast: Bundle, full: Bundle) -> Side:
    """Return what the control of `fast` answered, without the labels that `full` does not know."""
    known = {label.id for label in full.config.labels}
    return {
        key: row.model_copy(
            update={
                "gold": tuple(label for label in row.gold if label in known),
                "given": tuple(label for label in row.given if label in known),
            }
        )
        for key, row in read_predictions(fast, CONTROL).items()
    }


def _not_comparable(reason: str) -> DiplophraseError:
    return DiplophraseError(
        f"{reason} Two versions are compared on the same sentences in the same folds: train one "
        f"again with the same --folds and --seed from the same seed annotations.",
        kind="not_comparable",
    )


def shared_labels(a: Bundle, b: Bundle) -> list[str]:
    """Return the labels that both versions know, in the order of `b`."""
    known = {label.id for label in a.config.labels}
    return [label.id for label in b.config.labels if label.id in known]


def label_table(rows: Iterable[Iterable[str]], labels: Sequence[str]) -> Any:
    """Return which of `labels` stand in each row, as booleans [N, L]."""
    return np.array([[label in held for label in labels] for held in map(set, rows)])
