"""TF-IDF with logistic regression, the rival that learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.baselines import embed, predict_embedded, predict_tfidf

TEXTS = ["the old harbour opens"] * 3 + ["a cold night comes"] * 3
UNSEEN = ["one harbour opens again", "the cold night", "harbour at night, cold"]
HARBOUR = np.array([1, 1, 1, 0, 0, 0])
NOTHING = np.zeros(6, dtype=int)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([HARBOUR, 1 - HARBOUR], [[True, False], [False, True]]),
        ([1 - HARBOUR, NOTHING, HARBOUR], [[False, False, True], [True, False, False]]),
        ([NOTHING, HARBOUR], [[False, True], [False, False]]),
        ([HARBOUR], [[True], [False]]),
        ([NOTHING, NOTHING], [[False, False], [False, False]]),
    ],
    ids=["two", "one never seen", "one of two seen", "one alone", "none seen"],
)
def test_words_earn_the_labels_they_came_with(columns, expected: list[list[bool]]):
    targets = np.stack(columns, axis=1).astype(np.float32)
    assert predict_tfidf(TEXTS, targets, UNSEEN[:2], seed=0).tolist() == expected


def test_the_same_seed_gives_the_same_labels():
    targets = np.stack([HARBOUR, 1 - HARBOUR], axis=1).astype(np.float32)
    first, again = (predict_tfidf(TEXTS, targets, UNSEEN, seed=3) for _ in range(2))
    assert first.tolist() == again.tolist()


@pytest.mark.parametrize("columns", [[HARBOUR, 1 - HARBOUR], [NOTHING, HARBOUR], [HARBOUR]])
def test_embeddings_earn_the_labels_they_came_with(tiny_base: Path, columns):
    texts = ["the old harbour stays"] * 3 + ["clean river"] * 3
    targets = np.stack(columns, axis=1).astype(np.float32)
    given = predict_embedded(texts, targets, [texts[0], texts[5]], tiny_base, seed=0)
    assert given.tolist() == targets[[0, 5]].astype(bool).tolist()


def test_an_embedding_is_the_mean_vector_of_length_one_whatever_its_neighbours(tiny_base: Path):
    texts = ["the old harbour stays closed at night", "river", "a school", "river"]
    together = embed(texts, tiny_base)
    assert together.shape == (4, 32)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), np.ones(4), rtol=1e-5)
    np.testing.assert_array_equal(together[1], together[3])
    alone = np.concatenate([embed([text], tiny_base) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
