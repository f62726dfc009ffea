"""Cross-validation folds in which one event stays together.

Articles on one event, a digest and its reprints among them, share sentences; a model that has
seen one half would be tested on what it learnt by heart. So articles that `seeds/sources.yaml`
links, or that share a near-duplicate labelled sentence, form a group, and a group is in one fold.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from diplophrase.annotations import Annotation
from diplophrase.bundle import current_bundle
from diplophrase.errors import InvalidData

NO_FOLD = -1
NEAR_DUPLICATE = 0.6  # Jaccard index of the word sets of two sentences
_MIN_WORDS = 6
_WORD = re.compile(r"\w+")


def read_articles(sources: str | Path) -> list[dict[str, object]]:
    """Return the articles of a `sources.yaml`, each with `doc`, `id`, `start`, `end`, `same_as`."""
    catalogue = yaml.safe_load(Path(sources).read_text(encoding="utf-8"))
    return [
        {"doc": document["file"], **article}
        for document in catalogue["documents"]
        for article in document["articles"]
    ]


def article_of(annotation: Annotation, articles: Sequence[dict[str, object]]) -> str:
    """Return the id of the article that the annotated sentence stands in."""
    source = annotation.source
    if source is not None and source.start is not None:
        for article in articles:
            inside = article["start"] <= source.start < article["end"]  # type: ignore[operator]
            if article["doc"] == source.doc and inside:
                return str(article["id"])
    raise InvalidData(
        f"{annotation.id}: no article of sources.yaml holds its place {source}. "
        f"Give doc, start and end of the sentence in its source document."
    )


def group_events(annotations: Sequence[Annotation], sources: str | Path) -> list[str]:
    """Return a group name for each annotation: the first article of its event.

    Raises:
        InvalidData: if a sentence stands in no article, or `same_as` names none.
    """
    articles = read_articles(sources)
    homes = [article_of(annotation, articles) for annotation in annotations]
    parent = {str(article["id"]): str(article["id"]) for article in articles}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(one: str, other: str) -> None:
        first, second = sorted((root(one), root(other)))
        parent[second] = first

    for article in articles:
        for other in article.get("same_as") or []:  # type: ignore[attr-defined]
            if str(other) not in parent:
                raise InvalidData(
                    f"{sources}: {article['id']} has same_as {str(other)!r}, which is no article "
                    f"of it. Correct the id or take it out."
                )
            join(str(article["id"]), str(other))
    for one, other in near_duplicates(annotations):
        join(homes[one], homes[other])
    return [root(home) for home in homes]


def near_duplicates(annotations: Sequence[Annotation]) -> list[tuple[int, int]]:
    """Return the pairs of labelled sentences of six words or more that say the same.

    Unlabelled lines (credits, datelines) repeat from article to article and join nothing.
    """
    words = [set(_WORD.findall(annotation.text.lower())) for annotation in annotations]
    labelled = [
        index
        for index, annotation in enumerate(annotations)
        if annotation.labels and len(words[index]) >= _MIN_WORDS
    ]
    return [
        (one, other)
        for one, other in combinations(labelled, 2)
        if len(words[one] & words[other]) >= NEAR_DUPLICATE * len(words[one] | words[other])
    ]


def read_folds(
    models: Path, annotations: Sequence[Annotation], *, folds: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return the fold [N] that each annotation has in the current version, or -1.

    All are -1 if there is no current version, or it was measured with another seed or number of
    folds.

    Raises:
        BundleError: if CURRENT names no version.
    """
    known: dict[str, int] = {}
    if (models / "CURRENT").is_file():
        metrics = json.loads((current_bundle(models) / "metrics.json").read_text(encoding="utf-8"))
        known = metrics.get("folds", {})
        if metrics.get("run", {}).get("seed") != seed or len(set(known.values())) != folds:
            known = {}
    return np.array([known.get(annotation.id, NO_FOLD) for annotation in annotations])


def assign_folds(
    groups: Sequence[str],
    targets: npt.NDArray[np.float32],
    *,
    folds: int,
    seed: int,
    kept: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.int64]:
    """Give each row a fold from 0 to `folds - 1` so that groups stay whole.

    `targets` [N, L] holds 0 and 1. Largest group first, each goes where the labels and sizes of
    the folds stay most even; `seed` breaks ties among groups of one size. A group of which a row
    has a fold in `kept` [N] keeps it, the most frequent one of several: versions are compared on
    the same folds, and one corrected label would deal all groups anew.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        rows[group].append(index)
    if len(rows) < folds:
        raise InvalidData(
            f"{len(rows)} groups cannot fill {folds} folds. Ask for fewer folds or add documents."
        )
    random = np.random.default_rng(seed)
    order = sorted(rows, key=lambda name: (-len(rows[name]), random.random()))
    counted = np.concatenate([targets, np.ones((len(groups), 1), np.float32)], axis=1)
    share = counted.sum(0) / folds
    totals = np.zeros((folds, counted.shape[1]))
    assigned = np.zeros(len(groups), dtype=np.int64)
    earlier = {name: _kept_fold(kept, rows[name]) for name in order}
    for name in sorted(order, key=lambda name: earlier[name] == NO_FOLD):
        added = counted[rows[name]].sum(0)
        fold = earlier[name]
        if fold == NO_FOLD:
            excess = [np.square((totals[k] + added) / share.clip(1)).sum() for k in range(folds)]
            before = [np.square(totals[k] / share.clip(1)).sum() for k in range(folds)]
            fold = int(np.argmin(np.array(excess) - np.array(before)))
        totals[fold] += added
        assigned[rows[name]] = fold
    return assigned


def _kept_fold(kept: npt.NDArray[np.int64] | None, rows: Sequence[int]) -> int:
    found = (
        Counter(int(kept[row]) for row in rows if kept[row] != NO_FOLD) if kept is not None else {}
    )
    return max(found, key=lambda fold: (found[fold], -fold), default=NO_FOLD)
