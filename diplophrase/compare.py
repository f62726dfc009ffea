"""`diplophrase models compare`: one version beside another, on what both answered unseen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diplophrase.annotations import Annotation, read_annotations
from diplophrase.bundle import Bundle, load_version
from diplophrase.classifier import Classifier
from diplophrase.errors import Detail, DiplophraseError, InvalidData
from diplophrase.figures import Answers, Paired, compare_answers
from diplophrase.predictions import Prediction, read_predictions
from diplophrase.speed import Speed, measure_speed, speed_texts

MIN_TEST_SUPPORT = 5  # as `diplophrase evaluate` counts labels of a test file
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class OneSided:
    """A label that only one version knows: recall and F1 from 0 to 1 on its own answers."""

    label: str
    version: str
    support: int
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class FrozenTest:
    """Both versions, as served, on the sentences of a test file."""

    data: str
    figures: Paired


@dataclass(frozen=True, slots=True)
class Comparison:
    """Version B beside version A.

    `unseen` is drawn from the sentences that both answered out of fold, with B's hand labels, of
    which `relabelled` differ from A's. `by` says what chance draws whole: events, or sentences
    where no run noted events.
    """

    a: str
    b: str
    by: str
    relabelled: int
    unseen: Paired
    only_one: tuple[OneSided, ...]
    test: FrozenTest | None
    speed: Speed

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return asdict(self)


def compare_versions(
    models: str | Path, a: str, b: str, *, test: str | Path | None = None
) -> Comparison:
    """Compare the version `b` with the version `a`, which takes some seconds.

    `test` names a file of annotations that neither version was trained on; labels with
    `MIN_TEST_SUPPORT` hand labels or more count in its macro-F1.

    Raises:
        BundleError: if a version is not whole or does not open.
        DiplophraseError: `not_comparable`, with the reason and the way out, if a version has no
            answers out of fold or the folds differ.
        InvalidData: if `test` cannot be read or has a label that neither version knows.
    """
    one, other = load_version(models, a), load_version(models, b)
    seen = pair_predictions(one, other)
    notes = _read_test(Path(test), (one, other)) if test is not None else []
    networks = [Classifier(bundle) for bundle in (one, other)]
    return Comparison(
        a=a,
        b=b,
        by=seen.by,
        relabelled=seen.relabelled,
        unseen=seen.compare(_shared_labels(one, other)),
        only_one=(*seen.only(one, other, side=0), *seen.only(other, one, side=1)),
        test=_compare_on_test(Path(test), notes, networks) if test is not None else None,
        speed=measure_speed(networks[0], networks[1], speed_texts(other.config)),
    )


@dataclass(frozen=True, slots=True)
class PairedPredictions:
    """The sentences that two versions both answered out of fold, in the same order."""

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
        gold = _table((row.gold for row in self.rows[1]), labels)
        answers = [
            Answers(
                _table((row.given for row in side), labels),
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


def pair_predictions(a: Bundle, b: Bundle) -> PairedPredictions:
    """Return what both versions answered out of fold, of the sentences that both have.

    Raises:
        DiplophraseError: `not_comparable` if one has none, no sentence or label is common, or a
            sentence is in another fold.
    """
    sides = read_predictions(a), read_predictions(b)
    common = [key for key in sides[1] if key in sides[0]]
    if not common or not _shared_labels(a, b):
        what = "sentence" if not common else "label"
        raise _not_comparable(f"{a.version} and {b.version} have no {what} in common.")
    moved = [key for key in common if sides[0][key].fold != sides[1][key].fold]
    if moved:
        raise _not_comparable(
            f"{len(moved)} of {len(common)} sentences are in other folds in {b.version} than in "
            f"{a.version}, such as {', '.join(moved[:_SHOWN])}: each version had learnt from "
            f"sentences that the other had not."
        )
    return PairedPredictions(([sides[0][key] for key in common], [sides[1][key] for key in common]))


def _not_comparable(reason: str) -> DiplophraseError:
    return DiplophraseError(
        f"{reason} Two versions are compared on the same sentences in the same folds: train one "
        f"again with the same --folds and --seed from the same seed annotations.",
        kind="not_comparable",
    )


def _shared_labels(a: Bundle, b: Bundle) -> list[str]:
    known = {label.id for label in a.config.labels}
    return [label.id for label in b.config.labels if label.id in known]


def _table(rows: Iterable[Iterable[str]], labels: Sequence[str]) -> Any:
    """Return which of `labels` stand in each row, as booleans [N, L]."""
    return np.array([[label in held for label in labels] for held in map(set, rows)])


def _read_test(path: Path, bundles: Iterable[Bundle]) -> list[Annotation]:
    """Read a test file and refuse labels that no version knows, all in one error."""
    known = {label.id for bundle in bundles for label in bundle.config.labels}
    notes = read_annotations(path)
    details = [
        Detail("labels", label, "a label that one of the versions knows", index)
        for index, note in enumerate(notes)
        for label in note.labels
        if label not in known
    ]
    if details or not notes:
        shown = "; ".join(f"{notes[d.index or 0].id}: {d.found}" for d in details[:_SHOWN])
        found = f"{len(details)} unknown label(s) ({shown})" if details else "no annotation"
        raise InvalidData(f"{path}: found {found}. Mend the file of the test.", details=details)
    return notes


def _compare_on_test(
    path: Path, notes: Sequence[Annotation], networks: Sequence[Classifier]
) -> FrozenTest:
    labels = _shared_labels(networks[0].bundle, networks[1].bundle)
    gold = _table((note.labels for note in notes), labels)
    if not (gold.sum(0) >= MIN_TEST_SUPPORT).any():
        raise InvalidData(
            f"{path}: no label has {MIN_TEST_SUPPORT} sentences or more, so nothing can be said. "
            f"Add labelled sentences."
        )
    answers = []
    for network in networks:
        results = network.classify([note.text for note in notes], evidence=False)
        answers.append(
            Answers(
                _table(([hit.id for hit in result.labels] for result in results), labels),
                np.array([[result.scores[label] for label in labels] for result in results]),
            )
        )
    units = [note.id for note in notes]
    figures = compare_answers(
        answers[0], answers[1], gold, labels, units, min_support=MIN_TEST_SUPPORT
    )
    return FrozenTest(path.name, figures)
