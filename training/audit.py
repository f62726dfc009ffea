"""Which hand labels are likely wrong, by what models said that had not seen them.

Confident learning (C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", Journal of Artificial Intelligence Research 70, 2021), as cleanlab
does it, one label at a time: it estimates from scores out of fold how many sentences carry a label
wrongly and how many lack it wrongly, and names so many of the least believable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

from diplophrase.annotations import Annotation
from diplophrase.bundle import Bundle
from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidData
from diplophrase.predictions import Prediction, hash_text, read_predictions
from training.data import Data
from training.domain import embed
from training.regrade import Regraded, mark_labels, regrade

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A sentence near another one: `similarity` is the cosine of their embeddings."""

    id: str
    similarity: float
    labels: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A decision made by hand that is likely wrong: whether `text` carries `label`.

    `score` is the model's for the label; `quality` is how likely the hand is right, by that score;
    `issue` tells whether confident learning takes the decision for an error.
    """

    ids: tuple[str, ...]  # several where the same text stands several times
    text: str
    label: str
    by_hand: bool
    score: float
    quality: float
    issue: bool
    labels: tuple[str, ...]
    neighbours: tuple[Neighbour, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the suspect as it stands in JSON."""
        neighbours = [
            {
                "id": near.id,
                "similarity": near.similarity,
                "by_hand": self.label in near.labels,
                "labels": list(near.labels),
                "text": near.text,
            }
            for near in self.neighbours
        ]
        return {
            "ids": list(self.ids),
            "text": self.text,
            "label": self.label,
            "by_hand": self.by_hand,
            "score": self.score,
            "quality": self.quality,
            "issue": self.issue,
            "labels": list(self.labels),
            "neighbours": neighbours,
        }


@dataclass(frozen=True, slots=True)
class Changes:
    """What is other than when the version was measured; the lists hold ids of sentences."""

    relabelled: tuple[str, ...] = ()  # audited with the labels of today
    reworded: tuple[str, ...] = ()  # left out, as the score is of another text
    gone: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()  # not answered out of fold by this version
    unhashed: int = 0  # sentences of which the version does not say which text it answered
    unknown_labels: tuple[str, ...] = ()  # labels of the codebook that the version does not know


@dataclass(frozen=True, slots=True)
class Audit:
    """The suspects, the likeliest error first, out of all decisions that were looked at.

    `regraded` tells what changed labels do to the version's figures; None if none changed.
    """

    version: str
    sentences: int
    decisions: int
    issues: int
    changes: Changes
    regraded: Regraded | None
    suspects: tuple[Suspect, ...]


def audit_labels(bundle: Bundle, data: Data, *, top: int, neighbours: int) -> Audit:
    """Hold the hand labels in `data` against what the version answered out of fold.

    Returns the `top` suspects, each with the `neighbours` nearest of all hand-labelled sentences
    by the version's embeddings; with 0 none is looked for, which takes seconds less.

    Raises:
        DiplophraseError: `not_comparable` if the version was not measured out of fold.
        InvalidData: if it answered for none of the sentences.
    """
    predictions = read_predictions(bundle)
    known = {label.id for label in bundle.config.labels}
    labels = [label for label in data.codebook.ids if label in known]
    changes = find_changes(predictions, data, labels)
    left_out = {*changes.reworded, *changes.unanswered}
    notes = [note for note in data.all if note.id in predictions and note.id not in left_out]
    if not notes:
        raise InvalidData(
            f"{bundle.version} answered out of fold for {len(predictions)} sentences, and none of "
            f"them is among the {len(data.all)} annotations. Give --labels the folder that it was "
            f"trained from, or --version another version."
        )
    scores = np.array([[predictions[note.id].scores[label] for label in labels] for note in notes])
    targets = mark_labels([note.labels for note in notes], labels)
    issues = find_issues(scores, targets)
    suspects = rank_suspects(notes, labels, scores, targets, issues)[:top]
    if neighbours and suspects:
        suspects = add_neighbours(suspects, data.all, Classifier(bundle, runners=2), neighbours)
    return Audit(
        version=bundle.version,
        sentences=len(notes),
        decisions=targets.size,
        issues=int(issues.sum()),
        changes=changes,
        regraded=regrade(predictions, notes, labels),
        suspects=tuple(suspects),
    )


def find_changes(
    predictions: Mapping[str, Prediction], data: Data, labels: Sequence[str]
) -> Changes:
    """Compare the annotations of today with those that the predictions were made for.

    `labels` are those that both know. Authored sentences are never answered out of fold and count
    as nothing new.
    """
    notes = {note.id: note for note in data.all}
    both = [(notes[row.id], row) for row in predictions.values() if row.id in notes]
    return Changes(
        relabelled=tuple(
            note.id
            for note, row in both
            if set(note.labels) & set(labels) != set(row.gold) & set(labels)
        ),
        reworded=tuple(
            note.id for note, row in both if row.text_sha256 not in (None, hash_text(note.text))
        ),
        gone=tuple(key for key in predictions if key not in notes),
        unanswered=tuple(
            note.id
            for note in data.all
            if note.provenance != "authored" and note.id not in predictions
        ),
        unhashed=sum(row.text_sha256 is None for _, row in both),
        unknown_labels=tuple(label for label in data.codebook.ids if label not in labels),
    )


def find_issues(scores: Floats, targets: Bools) -> Bools:
    """Return which hand decisions [N, L] confident learning takes for errors.

    A label that all sentences carry, or none, has nothing to learn from and no error.
    """
    issues = np.zeros(targets.shape, dtype=bool)
    varied = np.flatnonzero(targets.any(0) & ~targets.all(0))
    if len(varied):
        given = [np.flatnonzero(row).tolist() for row in targets[:, varied]]
        issues[:, varied] = find_multilabel_issues_per_class(given, scores[:, varied], n_jobs=1)
    return issues


def rank_suspects(
    notes: Sequence[Annotation],
    labels: Sequence[str],
    scores: Floats,
    targets: Bools,
    issues: Bools,
) -> list[Suspect]:
    """Return all decisions [N, L], errors by confident learning first, then by quality.

    The same text counts once, with the lowest of its qualities.
    """
    quality = np.where(targets, scores, 1.0 - scores)
    found: dict[tuple[str, str], Suspect] = {}
    for place in np.argsort(quality, axis=None, kind="stable").tolist():
        row, column = divmod(place, len(labels))
        note, label = notes[row], labels[column]
        suspect = Suspect(
            ids=(note.id,),
            text=note.text,
            label=label,
            by_hand=bool(targets[row, column]),
            score=round(float(scores[row, column]), 4),
            quality=round(float(quality[row, column]), 4),
            issue=bool(issues[row, column]),
            labels=note.labels,
        )
        first = found.setdefault((note.text, label), suspect)
        if first is not suspect:
            found[note.text, label] = replace(
                first,
                ids=tuple(sorted((*first.ids, note.id))),
                issue=first.issue or suspect.issue,
            )
    return sorted(
        found.values(), key=lambda item: (not item.issue, item.quality, item.ids, item.label)
    )


def add_neighbours(
    suspects: Sequence[Suspect],
    notes: Sequence[Annotation],
    classifier: Classifier,
    count: int,
) -> list[Suspect]:
    """Give each suspect the `count` nearest of `notes` that are other texts, the nearest first."""
    pool = list({note.text: note for note in notes}.values())
    texts = list({suspect.text: None for suspect in suspects})
    own = dict(zip(texts, embed(classifier, texts), strict=True))
    others = embed(classifier, [note.text for note in pool])
    return [
        replace(suspect, neighbours=_nearest(suspect, own[suspect.text], pool, others, count))
        for suspect in suspects
    ]


def _nearest(
    suspect: Suspect, own: Floats, pool: Sequence[Annotation], others: Floats, count: int
) -> tuple[Neighbour, ...]:
    similarity = others @ own
    order = [int(k) for k in np.argsort(-similarity, kind="stable")[: count + 1]]
    return tuple(
        Neighbour(
            id=pool[k].id,
            similarity=round(float(similarity[k]), 3),
            labels=pool[k].labels,
            text=pool[k].text,
        )
        for k in order
        if pool[k].text != suspect.text
    )[:count]
