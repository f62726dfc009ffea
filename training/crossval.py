"""Cross-validation through the exported bundle: what is measured is what would be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from diplophrase.annotations import Annotation
from diplophrase.classifier import Classifier, Raw
from diplophrase.lexicon import Lexicon, add_hits
from training import calibration
from training.calibration import PHRASE_WEIGHT, Fitted
from training.finetune import TrainConfig
from training.fit import Candidate
from training.pool import Training


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """For each of N texts, what the model said that had not seen the text's event."""

    annotations: Sequence[Annotation]
    encodings: Sequence[Encoding]
    folds: npt.NDArray[np.int64]  # [N]
    int8: Sequence[Raw]
    float32: Sequence[Raw]
    hits: npt.NDArray[np.bool_]  # [N, L], what the lexicon finds

    def logits(self, *, float32: bool = False) -> npt.NDArray[np.float32]:
        """Return the logits [N, L] of the int8 network or the float32 one, with the hits."""
        raws = self.float32 if float32 else self.int8
        return add_hits(np.stack([raw.logits for raw in raws]), self.hits, PHRASE_WEIGHT)

    def fit_others(self, targets: npt.NDArray[np.float32]) -> list[Fitted]:
        """Return for each fold the calibration and thresholds fitted on all other folds."""
        logits = self.logits()
        return [
            calibration.fit(logits[self.folds != fold], targets[self.folds != fold])
            for fold in range(int(self.folds.max()) + 1)
        ]


def plan_folds(
    seeds: Sequence[Annotation],
    extra: Sequence[Annotation],
    folds: npt.NDArray[np.int64],
    config: TrainConfig,
) -> list[Training]:
    """Return one training a fold, each with one thread and a seed of its own."""
    count = int(folds.max()) + 1
    return [
        Training(
            f"fold {fold + 1} of {count}",
            [*[seeds[int(index)] for index in np.flatnonzero(folds != fold)], *extra],
            replace(config, seed=config.seed + fold, threads=1),
        )
        for fold in range(count)
    ]


def score_folds(
    seeds: Sequence[Annotation],
    folds: npt.NDArray[np.int64],
    candidates: Sequence[Candidate],
    labels: Sequence[str],
    lexicon: Lexicon,
) -> OutOfFold:
    """Let each fold's candidate answer for the sentences that it has not seen."""
    int8: list[Raw | None] = [None] * len(seeds)
    float32: list[Raw | None] = [None] * len(seeds)
    encodings: list[Encoding | None] = [None] * len(seeds)
    for fold, candidate in enumerate(candidates):
        held = np.flatnonzero(folds == fold)
        texts = [seeds[int(index)].text for index in held]
        for network, rows in ((candidate.int8, int8), (candidate.float32, float32)):
            classifier = Classifier.load(network, threads=2)
            tokens = classifier.encode(texts)
            for index, encoding, raw in zip(held, tokens, classifier.run(tokens), strict=True):
                rows[index], encodings[index] = raw, encoding
    return OutOfFold(
        seeds,
        [encoding for encoding in encodings if encoding is not None],
        folds,
        [raw for raw in int8 if raw is not None],
        [raw for raw in float32 if raw is not None],
        lexicon.predict([annotation.text for annotation in seeds], labels),
    )
