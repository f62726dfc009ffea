"""All figures of a run, computed from out-of-fold answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import SPEAKERS, Annotation
from diplophrase.attributes import read_attribute
from diplophrase.bundle import PRECISIONS
from diplophrase.classifier import Evidence, Raw, find_evidence
from diplophrase.codebook import Codebook
from diplophrase.lexicon import Lexicon
from diplophrase.predictions import hash_text
from training.baselines import predict_tfidf
from training.calibration import expected_calibration_error
from training.crossval import OutOfFold
from training.dataset import label_targets
from training.metrics import bootstrap_intervals, label_table, macro_f1, span_f1

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Decisions out of fold: calibration and thresholds come from other folds."""

    scores: npt.NDArray[np.float64]  # [N, L]
    given: Bools  # [N, L]
    given_float32: Bools  # [N, L]
    given_at: dict[float, Bools]  # [N, L] at each operating point
    targets: Bools  # [N, L]
    spans: list[dict[str, Evidence]]  # for each text, the evidence of its gold labels


def decide_out_of_fold(out: OutOfFold, codebook: Codebook) -> CrossValidated:
    """Turn out-of-fold logits into labels by what was fitted on the other folds."""
    targets = label_targets(out.annotations, codebook.ids)
    scores = np.zeros(targets.shape)
    given = np.zeros(targets.shape, dtype=bool)
    given_float32 = np.zeros(targets.shape, dtype=bool)
    given_at = {precision: np.zeros(targets.shape, dtype=bool) for precision in PRECISIONS}
    logits, float_logits = out.logits(), out.logits(float32=True)
    for fold, fitted in enumerate(out.fit_others(targets)):
        rows = out.folds == fold
        scores[rows] = fitted.scores(logits[rows])
        given[rows] = fitted.decide(logits[rows])
        given_float32[rows] = fitted.decide(float_logits[rows])
        for precision in PRECISIONS:
            given_at[precision][rows] = fitted.decide(logits[rows], precision)
    spans = [
        {label: _span(out, row, codebook.ids.index(label)) for label in annotation.labels}
        for row, annotation in enumerate(out.annotations)
    ]
    return CrossValidated(scores, given, given_float32, given_at, targets > 0, spans)


def _span(out: OutOfFold, row: int, label: int) -> Evidence:
    raw: Raw = out.int8[row]
    text = out.annotations[row].text
    return find_evidence(text, out.encodings[row], raw.evidence[:, label])


def baseline_decisions(
    out: OutOfFold, extra: Sequence[Annotation], codebook: Codebook, seed: int
) -> dict[str, Bools]:
    """Return the labels [N, L] of TF-IDF on the same folds and data."""
    texts = [annotation.text for annotation in out.annotations]
    targets = label_targets(out.annotations, codebook.ids)
    tfidf = np.zeros(targets.shape, dtype=bool)
    for fold in range(int(out.folds.max()) + 1):
        held, seen = out.folds == fold, np.flatnonzero(out.folds != fold)
        known = [*[texts[k] for k in seen], *[annotation.text for annotation in extra]]
        known_targets = np.concatenate([targets[seen], label_targets(extra, codebook.ids)])
        unseen = [texts[k] for k in np.flatnonzero(held)]
        tfidf[held] = predict_tfidf(known, known_targets, unseen, seed=seed)
    return {"tfidf": tfidf}


def cross_validation_report(
    out: OutOfFold,
    decided: CrossValidated,
    baselines: dict[str, Bools],
    codebook: Codebook,
    lexicon: Lexicon,
    seed: int,
) -> dict[str, Any]:
    """Return every cross-validated figure of the card."""
    targets, labels = decided.targets, codebook.ids
    table = label_table(decided.given, targets, labels)
    table["intervals"] = bootstrap_intervals(decided.given, targets, labels, seed=seed)
    return {
        "folds": [int((out.folds == k).sum()) for k in range(int(out.folds.max()) + 1)],
        "model": table,
        "float32_macro_f1": round(macro_f1(decided.given_float32, targets), 4),
        "int8_agrees_with_float32": round(
            float((decided.given == decided.given_float32).mean()), 5
        ),
        "baselines": {name: label_table(g, targets, labels) for name, g in baselines.items()},
        "operating_points": _operating_points(decided),
        "calibration_error": round(
            expected_calibration_error(decided.scores, targets.astype(float)), 4
        ),
        "evidence_f1": _evidence_figures(out, decided, lexicon),
        "speaker_accuracy": _speaker_accuracy(out),
        "attributes": _attribute_accuracy(out, decided, codebook),
    }


def _operating_points(decided: CrossValidated) -> list[dict[str, float]]:
    """Return the precision asked for, and the precision and recall that came out, all labels."""
    rows = []
    for precision, given in decided.given_at.items():
        right = float((given & decided.targets).sum())
        rows.append(
            {
                "asked": precision,
                "precision": round(right / max(int(given.sum()), 1), 4),
                "recall": round(right / max(int(decided.targets.sum()), 1), 4),
            }
        )
    return rows


def _evidence_figures(
    out: OutOfFold, decided: CrossValidated, lexicon: Lexicon
) -> dict[str, float]:
    """Return mean word F1 over all gold labels: the model's spans and the lexicon's.

    A gold label for which the lexicon finds nothing counts 0 for it.
    """
    model: list[float] = []
    rival: list[float] = []
    for annotation, spans in zip(out.annotations, decided.spans, strict=True):
        found = lexicon.find(annotation.text)
        for label, gold in annotation.evidence.items():
            span = spans[label]
            model.append(span_f1(annotation.text, gold, (span.start, span.end)))
            rival.append(span_f1(annotation.text, gold, found[label]) if label in found else 0.0)
    return {"model": round(float(np.mean(model)), 4), "lexicon": round(float(np.mean(rival)), 4)}


def _speaker_accuracy(out: OutOfFold) -> float:
    right = [
        SPEAKERS[int(np.argmax(raw.speaker))] == annotation.speaker
        for raw, annotation in zip(out.int8, out.annotations, strict=True)
    ]
    return round(float(np.mean(right)), 4)


def _attribute_accuracy(
    out: OutOfFold, decided: CrossValidated, codebook: Codebook
) -> dict[str, dict[str, float]]:
    """Return for each attribute how often it is exactly right where its label is gold."""
    figures: dict[str, dict[str, float]] = {}
    for attribute in codebook.attributes:
        right = []
        for annotation, spans in zip(out.annotations, decided.spans, strict=True):
            if attribute.label in spans:
                span = spans[attribute.label]
                value = read_attribute(attribute, annotation.text, span.start, span.end)
                gold = getattr(annotation, attribute.id)
                right.append(value == (list(gold) if isinstance(gold, tuple) else gold))
        figures[attribute.id] = {
            "accuracy": round(float(np.mean(right)), 4) if right else 0.0,
            "support": len(right),
        }
    return figures


def list_predictions(
    out: OutOfFold, decided: CrossValidated, codebook: Codebook
) -> list[dict[str, Any]]:
    """Return for each text what was answered out of fold, beside the hand labels of the time.

    Two versions that were measured on the same folds are compared by these.
    """
    return [
        {
            "id": annotation.id,
            "fold": int(out.folds[row]),
            "gold": list(annotation.labels),
            "given": [codebook.ids[k] for k in np.flatnonzero(decided.given[row])],
            "scores": dict(zip(codebook.ids, decided.scores[row].round(4).tolist(), strict=True)),
            "text_sha256": hash_text(annotation.text),
        }
        for row, annotation in enumerate(out.annotations)
    ]


def rank_mistakes(
    out: OutOfFold, decided: CrossValidated, codebook: Codebook
) -> list[dict[str, Any]]:
    """Return every wrong decision, the most confident first."""
    mistakes = []
    for row, column in np.argwhere(decided.given != decided.targets):
        score = float(decided.scores[row, column])
        given = bool(decided.given[row, column])
        mistakes.append(
            {
                "id": out.annotations[row].id,
                "label": codebook.ids[column],
                "kind": "given, not in the hand labels" if given else "missed",
                "score": round(score, 3),
                "text": out.annotations[row].text,
            }
        )
    return sorted(mistakes, key=lambda item: -abs(item["score"] - 0.5))
