"""Cross-validation through the exported bundle: what is measured is what would be served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

from diplophrase.annotations import Annotation
from diplophrase.classifier import Classifier, Raw
from diplophrase.codebook import Codebook
from diplophrase.lexicon import Lexicon, add_hits
from training import calibration
from training.added import AddedFolds
from training.calibration import PHRASE_WEIGHT, Fitted
from training.config import TrainConfig
from training.data import Data
from training.dataset import UNKNOWN, known_targets, label_targets
from training.fit import Candidate, Training
from training.stages import FirstStage


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """For each of N texts, what the model said that had not seen the text's event."""

    annotations: Sequence[Annotation]
    encodings: Sequence[Encoding]
    folds: npt.NDArray[np.int64]  # [N]
    int8: Sequence[Raw]  # what is served
    float32: Sequence[Raw] | None  # before quantisation, where that was apart
    hits: npt.NDArray[np.bool_]  # [N, L], what the lexicon finds
    hit_weights: npt.NDArray[np.float32]  # [L]

    def logits(self) -> npt.NDArray[np.float32]:
        """Return the logits [N, L] of the network to be served, with the hits."""
        return self._add_hits(self.int8)

    def float_logits(self) -> npt.NDArray[np.float32] | None:
        """Return the same of the float32 network."""
        return None if self.float32 is None else self._add_hits(self.float32)

    def _add_hits(self, raws: Sequence[Raw]) -> npt.NDArray[np.float32]:
        logits = np.stack([raw.logits for raw in raws])
        return add_hits(logits, self.hits, self.hit_weights)


def fit_out_of_fold(outs: Sequence[OutOfFold], codebook: Codebook) -> tuple[list[Fitted], Fitted]:
    """Return calibration and thresholds for each fold, fitted on all others, and on all folds."""
    logits = np.concatenate([out.logits() for out in outs])
    folds = np.concatenate([out.folds for out in outs])
    notes = [annotation for out in outs for annotation in out.annotations]
    targets, usable = label_targets(notes, codebook.ids), _usable_cells(notes, codebook)
    others = [folds != fold for fold in range(int(folds.max()) + 1)]
    own = np.array([label in codebook.own for label in codebook.ids])
    fitted = [calibration.fit(logits[row], targets[row], usable[row], own) for row in others]
    return fitted, calibration.fit(logits, targets, usable, own)


def _usable_cells(notes: Sequence[Annotation], codebook: Codebook) -> npt.NDArray[np.bool_]:
    """Return which labels [N, L] of each annotation the calibration is fitted on.

    Added sentences were picked, often as they are hard, and would make all scores modest: they
    count only for the labels that nothing else tells of.
    """
    usable: npt.NDArray[np.bool_] = known_targets(notes, codebook.ids) != UNKNOWN
    added = np.array([note.provenance == "added" for note in notes])
    ours = np.array([label not in codebook.own for label in codebook.ids])
    usable[np.ix_(added, ours)] = False
    return usable


def plan_folds(
    data: Data,
    folds: npt.NDArray[np.int64],
    added: AddedFolds,
    config: TrainConfig,
    first: FirstStage | None,
) -> list[Training]:
    """Return one training a fold after `first`, each with one thread and a seed of its own."""
    seeds = data.seeds
    count = int(folds.max()) + 1
    return [
        Training(
            f"fold {fold + 1} of {count}",
            [
                *[seeds[int(index)] for index in np.flatnonzero(folds != fold)],
                *[data.added[int(index)] for index in added.rows(fold)],
            ],
            replace(config, seed=config.seed + fold, threads=1),
            first,
        )
        for fold in range(count)
    ]


def score_folds(
    notes: Sequence[Annotation],
    folds: npt.NDArray[np.int64],
    candidates: Sequence[Candidate],
    labels: Sequence[str],
    lexicon: Lexicon,
) -> OutOfFold:
    """Let each fold's candidate answer for the sentences that it has not seen."""
    int8: list[Raw | None] = [None] * len(notes)
    float32: list[Raw | None] = [None] * len(notes)
    encodings: list[Encoding | None] = [None] * len(notes)
    for fold, candidate in enumerate(candidates):
        held = np.flatnonzero(folds == fold)
        texts = [notes[int(index)].text for index in held]
        for network, rows in ((candidate.int8, int8), (candidate.float32, float32)):
            classifier = Classifier.load(network, threads=2)
            tokens = classifier.encode(texts)
            for index, encoding, raw in zip(held, tokens, classifier.run(tokens), strict=True):
                rows[index], encodings[index] = raw, encoding
    return OutOfFold(
        notes,
        [encoding for encoding in encodings if encoding is not None],
        folds,
        [raw for raw in int8 if raw is not None],
        [raw for raw in float32 if raw is not None],
        lexicon.predict([annotation.text for annotation in notes], labels),
        lexicon.weigh(labels, PHRASE_WEIGHT),
    )
