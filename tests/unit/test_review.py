"""Which sentences are most worth a look, by the stated mix."""

from __future__ import annotations

import numpy as np
import pytest

from diplophrase.review import MIX, Mix, disagreement, rank, rarity, uncertainty

THRESHOLDS = np.array([0.5, 0.2])


def test_the_weights_add_up_to_one() -> None:
    assert MIX.uncertainty + MIX.disagreement + MIX.rarity + MIX.diversity == pytest.approx(1.0)


def test_uncertainty_is_nearness_to_the_threshold_of_the_least_sure_label() -> None:
    scores = np.array([[0.5, 0.0], [0.0, 1.0], [0.75, 0.0], [0.0, 0.1], [0.9, 0.6]])
    assert uncertainty(scores, THRESHOLDS) == pytest.approx([1.0, 0.0, 0.5, 0.5, 0.5])


def test_disagreement_is_how_far_the_model_is_on_the_other_side() -> None:
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [0.25, 0.0], [0.5, 0.0], [0.6, 1.0]])
    given = np.array([[1, 0], [0, 0], [1, 0], [0, 0], [1, 0]], dtype=bool)
    assert disagreement(scores, THRESHOLDS, given) == pytest.approx([0.0, 1.0, 0.5, 0.0, 1.0])


def test_rarity_is_the_weight_of_the_rarest_likely_label() -> None:
    support = np.array([99.0, 3.0])  # weights 0.1 and 0.5, so 0.2 and 1
    scores = np.array([[0.9, 0.0], [0.9, 0.2], [0.0, 0.1], [0.25, 0.0]])
    assert rarity(scores, THRESHOLDS, support) == pytest.approx([0.2, 1.0, 0.5, 0.1])


def choose(scores: np.ndarray, embeddings: np.ndarray, **options: object) -> list[int]:
    support = np.array([1.0, 1.0])
    given = {"count": len(scores), **options}
    ranked = rank(scores, THRESHOLDS, embeddings, support, **given)  # type: ignore[arg-type]
    return [item.row for item in ranked]


def test_one_reason_alone_orders_by_itself() -> None:
    scores = np.array([[0.0, 0.0], [0.5, 0.0], [0.7, 0.0]])
    same = np.ones((3, 2))
    assert choose(scores, same, mix=Mix(1, 0, 0, 0)) == [1, 2, 0]
    assert choose(scores, same, mix=Mix(0, 0, 1, 0)) == [1, 2, 0]
    hands = {"given": np.array([[1, 0], [1, 0], [0, 0]], bool), "mix": Mix(0, 1, 0, 0)}
    assert choose(scores, same, **hands) == [0, 1, 2]  # without a hand label nobody disagrees
    assert choose(scores, same, labelled=np.array([True, True, True]), **hands) == [0, 2, 1]
    assert choose(scores, same, labelled=np.array([False, True, True]), **hands) == [2, 0, 1]


def test_diversity_takes_one_of_each_kind_before_a_second() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 3.0], [0.01, 1.0], [1.0, 1.0]])
    scores = np.zeros((5, 2))
    mix = Mix(0, 0, 0, 1)
    assert choose(scores, embeddings, mix=mix)[:3] == [0, 2, 4]
    known = np.array([[5.0, 0.0]])
    assert choose(scores, embeddings, mix=mix, known=known)[:2] == [2, 4]
    assert choose(scores, embeddings, mix=mix, known=known[:0])[:3] == [0, 2, 4]


def test_the_value_is_the_weighted_sum_of_the_parts_shown() -> None:
    generator = np.random.default_rng(7)
    scores, embeddings = generator.random((40, 2)), generator.normal(size=(40, 8))
    hands = generator.random((40, 2)) > 0.5
    everything = rank(
        scores,
        THRESHOLDS,
        embeddings,
        np.array([3.0, 40.0]),
        count=40,
        given=hands,
        labelled=np.ones(40, bool),
    )
    assert sorted(item.row for item in everything) == list(range(40))
    for item in everything:
        parts = {name: getattr(MIX, name) * getattr(item, name) for name in item.reasons()}
        assert item.value == pytest.approx(sum(parts.values()), abs=1e-8)
        assert all(0 <= share <= 1 for share in item.reasons().values())
    again = rank(
        scores,
        THRESHOLDS,
        embeddings,
        np.array([3.0, 40.0]),
        count=10,
        given=hands,
        labelled=np.ones(40, bool),
    )
    assert again == everything[:10]


def test_nothing_to_choose_from() -> None:
    assert choose(np.zeros((0, 2)), np.zeros((0, 4))) == []
    assert choose(np.zeros((2, 2)), np.ones((2, 4)), count=0) == []
