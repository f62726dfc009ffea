"""Agreement of two independent passes of hand labels, by scikit-learn and krippendorff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score

from diplophrase.annotations import Annotation
from diplophrase.errors import InvalidData
from training.dataset import label_targets
from training.metrics import span_f1


def measure_agreement(
    one: Sequence[Annotation], other: Sequence[Annotation], labels: Sequence[str]
) -> dict[str, Any]:
    """Return Cohen's kappa per label and over all decisions, Krippendorff's alpha, and more.

    Alpha is nominal over all label decisions. `evidence_f1` is the mean word F1 of the spans of
    labels that both passes gave.

    Raises:
        InvalidData: if the passes do not hold the same sentences, or leave nothing to compare.
    """
    second = {annotation.id: annotation for annotation in other}
    if sorted(second) != sorted(annotation.id for annotation in one):
        raise InvalidData(
            "The two passes hold different sentences. Run: diplophrase labels check, "
            "then label what is missing."
        )
    pairs = [(annotation, second[annotation.id]) for annotation in one]
    first = label_targets([pair[0] for pair in pairs], labels)
    last = label_targets([pair[1] for pair in pairs], labels)
    per_label = {
        label: {
            "kappa": _kappa(first[:, k], last[:, k]),
            "first": int(first[:, k].sum()),
            "second": int(last[:, k].sum()),
        }
        for k, label in enumerate(labels)
    }
    spans = [
        span_f1(a.text, a.evidence[label], b.evidence[label])
        for a, b in pairs
        for label in a.labels
        if label in b.evidence
    ]
    if not spans or bool(first.all() and last.all()):
        raise InvalidData(
            "The two passes have no label in common, or give every label throughout, so their "
            "agreement is undefined. Label more sentences in both, or take both files away."
        )
    alpha = krippendorff.alpha(
        reliability_data=[first.ravel(), last.ravel()], level_of_measurement="nominal"
    )
    return {
        "sentences": len(pairs),
        "labels": per_label,
        "kappa": _kappa(first.ravel(), last.ravel()),
        "alpha": round(float(alpha), 4),
        "exact_label_set": round(float((first == last).all(1).mean()), 4),
        "speaker": round(float(np.mean([a.speaker == b.speaker for a, b in pairs])), 4),
        "evidence_f1": round(float(np.mean(spans)), 4),
    }


def _kappa(one: Any, other: Any) -> float | None:
    if (one == one[0]).all() and (other == one[0]).all():
        return None  # both passes gave one and the same answer throughout: kappa is undefined
    return round(float(cohen_kappa_score(one, other)), 4)
