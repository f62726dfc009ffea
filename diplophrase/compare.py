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
from diplophrase.errors import Detail, InvalidData
from diplophrase.figures import Answers, Paired, compare_answers
from diplophrase.pairing import Basis, OneSided, label_table, pair_predictions, shared_labels
from diplophrase.speed import Speed, measure_speed, speed_texts

MIN_TEST_SUPPORT = 5  # as `diplophrase evaluate` counts labels of a test file
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class FrozenTest:
    """Both versions, as served, on the sentences of a test file."""

    data: str
    figures: Paired


@dataclass(frozen=True, slots=True)
class Comparison:
    """Version B beside version A.

    `unseen` is drawn from the sentences that both answered out of fold, with B's hand labels, of
    which `relabelled` differ from A's; it is None where their figures cannot be held together, and
    the test alone tells. `basis` says what was unseen. `by` says what chance draws whole: events,
    or sentences where no run noted events.
    """

    a: str
    b: str
    basis: Basis
    by: str
    relabelled: int
    unseen: Paired | None
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
    `MIN_TEST_SUPPORT` hand labels or more count in its macro-F1. It is needed where a fast version
    is held against one that does not share its encoder.

    Raises:
        BundleError: if a version is not whole or does not open.
        DiplophraseError: `not_comparable`, with the reason and the way out, if a version has no
            answers out of fold or the folds differ.
        InvalidData: if `test` cannot be read or has a label that neither version knows.
    """
    one, other = load_version(models, a), load_version(models, b)
    seen = pair_predictions(one, other, needed=test is None)
    notes = _read_test(Path(test), (one, other)) if test is not None else []
    networks = [Classifier(bundle) for bundle in (one, other)]
    return Comparison(
        a=a,
        b=b,
        basis=seen.basis,
        by=seen.by,
        relabelled=seen.relabelled,
        unseen=seen.compare(shared_labels(one, other)) if seen.rows[0] else None,
        only_one=(*seen.only(one, other, side=0), *seen.only(other, one, side=1)),
        test=_compare_on_test(Path(test), notes, networks) if test is not None else None,
        speed=measure_speed(networks[0], networks[1], speed_texts(other.config)),
    )


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
    labels = shared_labels(networks[0].bundle, networks[1].bundle)
    gold = label_table((note.labels for note in notes), labels)
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
                label_table(([hit.id for hit in result.labels] for result in results), labels),
                np.array([[result.scores[label] for label in labels] for result in results]),
            )
        )
    units = [note.id for note in notes]
    figures = compare_answers(
        answers[0], answers[1], gold, labels, units, min_support=MIN_TEST_SUPPORT
    )
    return FrozenTest(path.name, figures)
