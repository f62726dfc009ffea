"""Which texts are unlike anything that the model was made for.

A logistic regression on the network's own sentence embedding tells texts of the domain (all
annotations, most of them without any label included) from texts of many other kinds (outlier
exposure, Hendrycks et al. 2019). It is measured on texts of kinds that it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from diplophrase.bundle import Domain
from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidData

Floats = npt.NDArray[np.floating[Any]]
FALSE_ALARMS = 0.01  # the share of the domain's own texts that the threshold may flag
_STRENGTH = 10.0  # inverse of the regularisation


@dataclass(frozen=True, slots=True)
class ForeignText:
    """A text from outside the domain, and what kind of text it is."""

    kind: str
    text: str


def read_foreign(path: Path) -> list[ForeignText]:
    """Read `kind` and `text` of each line.

    Raises:
        InvalidData: naming the first line that is not such an object.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append(ForeignText(row["kind"], row["text"]))
        except (json.JSONDecodeError, KeyError, TypeError):
            raise InvalidData(
                f"{path}:{number} is not an object with kind and text. Mend the line."
            ) from None
    return rows


def fit_domain(own: Floats, foreign: Floats, held_out: Floats) -> Domain:
    """Fit on embeddings [N, H] of both sides; `held_out` scores [N] of own texts set the threshold.

    `held_out` are scores that models gave to texts of the domain which they had not seen.
    """
    model = _fit(own, foreign)
    threshold = float(np.clip(np.quantile(held_out, 1 - FALSE_ALARMS), 0.5, 0.999))
    return Domain(
        weights=tuple(round(float(value), 5) for value in model.coef_[0]),
        intercept=round(float(model.intercept_[0]), 5),
        threshold=round(threshold, 4),
    )


def score_foreign(own: Floats, foreign: Floats, asked: Floats) -> npt.NDArray[np.float64]:
    """Return how foreign each of the `asked` embeddings [N, H] is, from 0 to 1."""
    return np.asarray(_fit(own, foreign).predict_proba(asked)[:, 1])


def _fit(own: Floats, foreign: Floats) -> LogisticRegression:
    texts = np.concatenate([own, foreign])
    return LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000).fit(
        texts, np.repeat([0, 1], [len(own), len(foreign)])
    )


def split_kinds(foreign: Sequence[ForeignText], folds: int) -> npt.NDArray[np.int64]:
    """Return a fold for each text, all texts of a kind in one."""
    kinds = sorted({row.kind for row in foreign})
    return np.array([kinds.index(row.kind) % folds for row in foreign])


@dataclass(frozen=True, slots=True)
class Measured:
    """How foreign texts look to models that saw neither them nor, if foreign, their kind."""

    own: npt.NDArray[np.float64]  # [N], the seeds
    foreign: npt.NDArray[np.float64]  # [M]
    kinds: tuple[str, ...]  # [M]

    def figures(self, threshold: float) -> dict[str, Any]:
        """Return the share of own texts flagged, and of foreign ones, in all and by kind."""
        found = self.foreign > threshold
        kinds = np.array(self.kinds)
        return {
            "threshold": threshold,
            "false_alarms": round(float((self.own > threshold).mean()), 4),
            "found": round(float(found.mean()), 4),
            "found_by_kind": {
                kind: round(float(found[kinds == kind].mean()), 3) for kind in sorted(set(kinds))
            },
        }


def measure(
    networks: Sequence[Path],
    folds: npt.NDArray[np.int64],
    seeds: Sequence[str],
    extra: Sequence[str],
    foreign: Sequence[ForeignText],
) -> Measured:
    """Score seeds and foreign texts with each fold's bundle, fitted on the other folds and kinds.

    `networks` are the folders of the folds' bundles, `folds` [N] belong to the seeds; `extra`
    texts are of the domain and known to every fold.
    """
    kinds = split_kinds(foreign, len(networks))
    own_scores, foreign_scores = np.zeros(len(seeds)), np.zeros(len(foreign))
    for fold, network in enumerate(networks):
        classifier = Classifier.load(network, runners=2)
        own = embed(classifier, [*seeds, *extra])
        strange = embed(classifier, [row.text for row in foreign])
        held, hidden = folds == fold, kinds == fold
        known = np.concatenate([own[: len(seeds)][~held], own[len(seeds) :]])
        asked = np.concatenate([own[: len(seeds)][held], strange[hidden]])
        scores = score_foreign(known, strange[~hidden], asked)
        own_scores[held], foreign_scores[hidden] = np.split(scores, [int(held.sum())])
    return Measured(own_scores, foreign_scores, tuple(row.kind for row in foreign))


def embed(classifier: Classifier, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the network's embeddings [N, H] of the texts."""
    return np.stack([raw.embedding for raw in classifier.run(classifier.encode(texts))])
