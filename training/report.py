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
from diplophrase.figures import expected_calibration_error
from diplophrase.lexicon import Lexicon
from diplophrase.predictions import hash_text
from training.baselines import predict_tfidf
from training.calibration import Fitted
from training.crossval import OutOfFold
from training.dataset import UNKNOWN, known_targets, label_targets
from training.metrics import bootstrap_intervals, label_table, macro_f1, span_f1
from training.unlabelled import known_cells

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """Decisions out of fold: calibration and thresholds come from other folds.

    What is not known of a text by hand is taken as neither given nor there.
    """

    scores: npt.NDArray[np.float64]  # [N, L]
    given: Bools  # [N, L]
    given_float32: Bools | None  # [N, L]
    given_at: dict[float, Bools]  # [N, L] at each operating point
    targets: Bools  # [N, L]
    known: Bools  # [N, L]
    presumed: dict[str, dict[str, int]]  # of a label's presumed absences, how often it was given
    spans: list[dict[str, Evidence]]  # for each text, the evidence of its gold labels


def decide_out_of_fold(
    out: OutOfFold, codebook: Codebook, fitted: Sequence[Fitted]
) -> CrossValidated:
    """Turn out-of-fold logits into labels; `fitted` has for each fold what the others gave."""
    targets = label_targets(out.annotations, codebook.ids)
    known = known_cells(out.annotations, codebook)
    scores = np.zeros(targets.shape)
    given = np.zeros(targets.shape, dtype=bool)
    given_float32 = None if out.float32 is None else np.zeros(targets.shape, dtype=bool)
    given_at = {precision: np.zeros(targets.shape, dtype=bool) for precision in PRECISIONS}
    logits, float_logits = out.logits(), out.float_logits()
    for fold, others in enumerate(fitted):
        rows = out.folds == fold
        scores[rows] = others.scores(logits[rows])
        given[rows] = others.decide(logits[rows])
        for precision in PRECISIONS:
            given_at[precision][rows] = others.decide(logits[rows], precision) & known[rows]
        if given_float32 is not None and float_logits is not None:
            given_float32[rows] = others.decide(float_logits[rows]) & known[rows]
    spans = [
        {label: _span(out, row, codebook.ids.index(label)) for label in annotation.labels}
        for row, annotation in enumerate(out.annotations)
    ]
    return CrossValidated(
        scores,
        given & known,
        given_float32,
        given_at,
        targets > 0,
        known,
        _count_presumed(out, given, known, codebook),
        spans,
    )


def _count_presumed(
    out: OutOfFold, given: Bools, known: Bools, codebook: Codebook
) -> dict[str, dict[str, int]]:
    """Return for each label of a user's own how often it was given where it is presumed absent."""
    presumed = ~known & (known_targets(out.annotations, codebook.ids) != UNKNOWN)
    columns = {label: codebook.ids.index(label) for label in codebook.own}
    return {
        label: {
            "sentences": int(presumed[:, column].sum()),
            "given": int((presumed & given)[:, column].sum()),
        }
        for label, column in columns.items()
    }


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
    """Return every cross-validated figure of the card, on the labels that the texts tell of."""
    told = np.flatnonzero(decided.known.any(0))
    labels = [codebook.ids[column] for column in told]
    targets, given = decided.targets[:, told], decided.given[:, told]
    table = label_table(given, targets, labels)
    table["intervals"] = bootstrap_intervals(given, targets, labels, seed=seed)
    return {
        "folds": [int((out.folds == k).sum()) for k in range(int(out.folds.max()) + 1)],
        "model": table,
        **_float_figures(decided),
        "baselines": {
            name: label_table(rival[:, told], targets, labels) for name, rival in baselines.items()
        },
        "operating_points": _operating_points(decided),
        "calibration_error": round(
            expected_calibration_error(
                decided.scores[decided.known], decided.targets[decided.known].astype(float)
            ),
            4,
        ),
        "evidence_f1": _evidence_figures(out, decided, lexicon),
        "speaker_accuracy": _speaker_accuracy(out),
        "attributes": _attribute_accuracy(out, decided, codebook),
        "presumed": decided.presumed,
    }


def _float_figures(decided: CrossValidated) -> dict[str, float]:
    """Return what quantisation cost, where there was a network before it."""
    if decided.given_float32 is None:
        return {}
    agreement = float((decided.given == decided.given_float32).mean())
    return {
        "float32_macro_f1": round(macro_f1(decided.given_float32, decided.targets), 4),
        "int8_agrees_with_float32": round(agreement, 5),
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
    means = {"model": model, "lexicon": rival}
    return {name: round(float(np.mean(x)), 4) if x else 0.0 for name, x in means.items()}


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
    out: OutOfFold, decided: CrossValidated, codebook: Codebook, events: Sequence[str]
) -> list[dict[str, Any]]:
    """Return for each text what was answered out of fold, beside the hand labels of the time.

    Two versions that were measured on the same folds are compared by these. A label of which the
    hand labels do not tell is scored, but never among those given.
    """
    return [
        {
            "id": annotation.id,
            "fold": int(out.folds[row]),
            "event": events[row],
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
