"""`diplophrase evaluate`: the served bundle and its rivals on a file of labelled sentences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diplophrase.annotations import Annotation, check_annotations
from diplophrase.classifier import Classifier, Result
from diplophrase.codebook import Codebook
from diplophrase.figures import expected_calibration_error
from diplophrase.lexicon import Lexicon
from training.baselines import predict_embedded, predict_tfidf, rule_decisions
from training.dataset import label_targets
from training.metrics import bootstrap_intervals, label_table, macro_f1, span_f1
from training.unlabelled import known_cells

MIN_SUPPORT = 5  # positives that a label needs to count in the macro figures
SEED = 7


def evaluate_bundle(
    classifier: Classifier,
    data: Path,
    codebook: Codebook,
    lexicon: Lexicon,
    training: Sequence[Annotation],
    base: Path,
) -> dict[str, Any]:
    """Return all figures of the bundle and its rivals on the sentences in `data`.

    Rivals learn from `training` alone: the lexicon not at all, TF-IDF and frozen sentence
    embeddings of the checkpoint in `base` with logistic regression. Labels that the bundle does not
    know are left out; one that the codebook of an annotation did not have counts neither as given
    nor as there.

    Raises:
        InvalidData: if `data` breaks the schema or the codebook.
    """
    notes = _of_labels(check_annotations(data, codebook, record=True), classifier.labels)
    training = _of_labels(training, classifier.labels)
    codebook = codebook.only(classifier.labels)
    known = known_cells(notes, codebook)
    texts = [note.text for note in notes]
    targets = label_targets(notes, codebook.ids) > 0
    results = classifier.classify(texts)
    given = np.array([[k in {h.id for h in r.labels} for k in codebook.ids] for r in results])
    scores = np.array([[r.scores[label] for label in codebook.ids] for r in results])
    learnt = [note.text for note in training]
    answers = label_targets(training, codebook.ids)
    rivals = {
        **rule_decisions(texts, codebook.ids),
        "tfidf": predict_tfidf(learnt, answers, texts, seed=SEED),
        "embeddings": predict_embedded(learnt, answers, texts, base, seed=SEED),
    }
    given &= known
    rivals = {name: rival & known for name, rival in rivals.items()}
    table = label_table(given, targets, codebook.ids, min_support=MIN_SUPPORT)
    table["intervals"] = bootstrap_intervals(given, targets, codebook.ids, seed=SEED)
    return {
        "data": data.name,
        "model_version": classifier.bundle.version,
        "model": table,
        "macro_difference": {
            name: _difference(given, rival, targets) for name, rival in rivals.items()
        },
        "calibration_error": round(
            expected_calibration_error(scores[known], targets[known].astype(float)), 4
        ),
        "evidence_f1": _evidence(notes, results, classifier, lexicon),
        "out_of_domain": round(float(np.mean([r.out_of_domain for r in results])), 4),
        "speaker_accuracy": round(
            float(np.mean([r.speaker == n.speaker for r, n in zip(results, notes, strict=True)])), 4
        ),
        "attributes": _attributes(notes, results, codebook),
        "baselines": {
            name: label_table(rival, targets, codebook.ids, min_support=MIN_SUPPORT)
            for name, rival in rivals.items()
        },
    }


def _of_labels(notes: Sequence[Annotation], labels: Sequence[str]) -> list[Annotation]:
    """Return the annotations without any label but these."""
    return [
        note.model_copy(update={"labels": tuple(k for k in note.labels if k in labels)})
        for note in notes
    ]


def _difference(
    given: npt.NDArray[np.bool_], rival: npt.NDArray[np.bool_], targets: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the lead in macro-F1 over a rival, with its paired bootstrap interval."""
    random = np.random.default_rng(SEED)
    draws = []
    for _ in range(500):
        rows = random.integers(0, len(targets), len(targets))
        ours, theirs = (macro_f1(x[rows], targets[rows], MIN_SUPPORT) for x in (given, rival))
        draws.append(ours - theirs)
    lead = macro_f1(given, targets, MIN_SUPPORT) - macro_f1(rival, targets, MIN_SUPPORT)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"lead": round(lead, 4), "interval": [round(float(low), 4), round(float(high), 4)]}


def _evidence(
    notes: Sequence[Annotation],
    results: Sequence[Result],
    classifier: Classifier,
    lexicon: Lexicon,
) -> dict[str, float]:
    """Return the mean word F1 of spans over the labels that hand and model or lexicon gave."""
    model, rival = [], []
    for note, result in zip(notes, results, strict=True):
        found = lexicon.find(note.text)
        for hit in result.labels:
            if hit.id in note.evidence and hit.evidence is not None:
                span = (hit.evidence.start, hit.evidence.end)
                model.append(span_f1(note.text, note.evidence[hit.id], span))
        rival += [
            span_f1(note.text, gold, found[label])
            for label, gold in note.evidence.items()
            if label in found
        ]
    means = {"model": model, "lexicon": rival}
    return {name: round(float(np.mean(x)), 4) if x else 0.0 for name, x in means.items()}


def _attributes(
    notes: Sequence[Annotation], results: Sequence[Result], codebook: Codebook
) -> dict[str, dict[str, float]]:
    """Return how often an attribute is right among the labels that hand and model both gave."""
    figures: dict[str, dict[str, float]] = {}
    for attribute in codebook.attributes:
        right = []
        for note, result in zip(notes, results, strict=True):
            gold = getattr(note, attribute.id)
            for hit in result.labels:
                if hit.id == attribute.label and gold is not None:
                    wanted = sorted(gold) if isinstance(gold, tuple) else gold
                    value = hit.attributes[attribute.id]
                    right.append((sorted(value) if isinstance(value, list) else value) == wanted)
        accuracy = round(float(np.mean(right)), 4) if right else 0.0
        figures[attribute.id] = {"accuracy": accuracy, "support": len(right)}
    return figures


def save_figures(path: Path, figures: dict[str, Any]) -> None:
    """Write figures as indented JSON."""
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
