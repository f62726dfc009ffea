"""Folds of added annotations: near-duplicates and one document stay together, seeds stay put."""

from __future__ import annotations

import numpy as np
from training_fixtures import make_note

from diplophrase.annotations import Annotation, Source
from training.added import assign_added

SEEDS = [
    make_note("s0", "The two ports will share one old crane.", {"harbour": "ports"}),
    make_note("s1", "A school for pilots opens on the island.", {"school": "school"}),
    make_note("s2", "The long river is clean again this summer.", {"river": "river"}),
]
FOLDS = np.array([0, 1, 2])


def added(key: str, text: str, *, labelled: bool = True, doc: str | None = None) -> Annotation:
    spans = {"harbour": text.split()[0]} if labelled else {}
    return make_note(key, text, spans, source=Source(doc=doc) if doc else None)


def assign(*notes: Annotation, authored: tuple[Annotation, ...] = ()):
    return assign_added(notes, SEEDS, authored, FOLDS)


def test_a_near_duplicate_of_a_seed_joins_its_fold_with_its_whole_document():
    found = assign(
        added("a", "However, a school for pilots opens on the island.", doc="x"),
        added("b", "Rain fell on all the hills.", labelled=False, doc="x"),
    )
    assert found.folds.tolist() == [1, 1]
    assert found.barred.tolist() == [[False, True, False]] * 2


def test_the_same_text_as_a_seed_joins_its_fold_even_without_a_label():
    assert assign(added("a", SEEDS[2].text, labelled=False)).folds.tolist() == [2]


def test_a_group_near_seeds_of_two_folds_trains_in_neither():
    found = assign(
        added("a", "Today the two ports will share one old crane.", doc="x"),
        added("b", "Today the long river is clean again this summer.", doc="x"),
    )
    assert found.folds.tolist() == [0, 0]
    assert found.barred.tolist() == [[True, False, True]] * 2
    assert [found.rows(fold).tolist() for fold in range(3)] == [[], [0, 1], []]


def test_others_are_dealt_evenly_documents_whole():
    notes = [added(f"{doc}{k}", f"Text {doc} {k}.", doc=doc) for doc in "pqr" for k in range(3)]
    found = assign(*notes)
    assert sorted(set(found.folds[[0, 3, 6]].tolist())) == [0, 1, 2]
    assert found.folds.tolist() == np.repeat(found.folds[[0, 3, 6]], 3).tolist()
    assert (found.barred.sum(1) == 1).all()


def test_near_duplicates_among_the_added_stay_together():
    found = assign(
        added("a", "Ships of all the islands carry rice to us."),
        added("b", "Nothing of the kind was said by anybody."),
        added("c", "Now ships of all the islands carry rice to us."),
    )
    assert found.folds[0] == found.folds[2] != found.folds[1]


def test_a_sentence_of_the_authored_trains_everywhere_it_may_and_is_never_measured():
    note = added("a", "Ships of all the islands carry rice to us.")
    found = assign(note, authored=(note,))
    assert found.folds.tolist() == [-1]
    assert found.barred.sum() == 1


def test_no_added_annotation_has_no_fold():
    found = assign()
    assert found.folds.tolist() == []
    assert found.barred.shape == (0, 3)
    assert found.rows(0).tolist() == []
