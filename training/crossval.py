"""Cross-validation through the exported bundle: what is measured is what would be served."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from diplophrase.annotations import Annotation
from diplophrase.classifier import Classifier, Raw
from training import calibration
from training.calibration import Fitted
from training.finetune import Step, TrainConfig
from training.fit import Recipe, fit_or_reuse

Progress = Callable[[str, Step], None]


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """For each of N texts, what the model said that had not seen the text's event."""

    annotations: Sequence[Annotation]
    encodings: Sequence[Encoding]
    folds: npt.NDArray[np.int64]  # [N]
    int8: Sequence[Raw]
    float32: Sequence[Raw]

    def logits(self, *, float32: bool = False) -> npt.NDArray[np.float32]:
        """Return the logits [N, L] of the int8 network, or of the float32 one."""
        return np.stack([raw.logits for raw in (self.float32 if float32 else self.int8)])

    def fit_others(self, targets: npt.NDArray[np.float32]) -> list[Fitted]:
        """Return for each fold the calibration and thresholds fitted on all other folds."""
        logits = self.logits()
        return [
            calibration.fit(logits[self.folds != fold], targets[self.folds != fold])
            for fold in range(int(self.folds.max()) + 1)
        ]


def cross_validate(
    recipe: Recipe,
    seeds: Sequence[Annotation],
    extra: Sequence[Annotation],
    folds: npt.NDArray[np.int64],
    config: TrainConfig,
    runs: Path,
    progress: Progress,
) -> OutOfFold:
    """Train once a fold on the other folds of `seeds` and all of `extra`; score the fold.

    Fold models are kept below `runs`, so that a run that was cut off goes on.
    """
    int8: list[Raw | None] = [None] * len(seeds)
    float32: list[Raw | None] = [None] * len(seeds)
    encodings: list[Encoding | None] = [None] * len(seeds)
    count = int(folds.max()) + 1
    for fold in range(count):
        held = [index for index in range(len(seeds)) if folds[index] == fold]
        seen = [seeds[index] for index in range(len(seeds)) if folds[index] != fold]
        name = f"fold {fold + 1} of {count}"
        candidate = fit_or_reuse(
            recipe,
            [*seen, *extra],
            replace(config, seed=config.seed + fold),
            runs,
            lambda step, name=name: progress(name, step),  # type: ignore[misc]
        )
        texts = [seeds[index].text for index in held]
        for network, rows in ((candidate.int8, int8), (candidate.float32, float32)):
            classifier = Classifier.load(network, threads=config.threads)
            tokens = classifier.encode(texts)
            for index, encoding, raw in zip(held, tokens, classifier.run(tokens), strict=True):
                rows[index], encodings[index] = raw, encoding
    return OutOfFold(
        seeds,
        [encoding for encoding in encodings if encoding is not None],
        folds,
        [raw for raw in int8 if raw is not None],
        [raw for raw in float32 if raw is not None],
    )
