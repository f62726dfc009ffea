"""Figures of quality, against tables worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from training.metrics import bootstrap_intervals, label_table, macro_f1, span_f1

LABELS = ("a", "b", "c")


def bools(*rows: str) -> np.ndarray:
    return np.array([[mark == "x" for mark in row] for row in rows])


# a: 2 right, 1 false alarm, 1 missed; b: 1 right, 0, 0; c: never gold, given once
GIVEN = bools("x..", "xx.", "x..", "..x", "...")
TARGETS = bools("x..", "xx.", "...", "x..", "...")


def test_the_table_of_a_hand_computed_case():
    table = label_table(GIVEN, TARGETS, LABELS)
    assert table["labels"] == {
        "a": {"support": 3, "precision": 0.6667, "recall": 0.6667, "f1": 0.6667},
        "b": {"support": 1, "precision": 1.0, "recall": 1.0, "f1": 1.0},
        "c": {"support": 0, "precision": 0.0, "recall": 0.0, "f1": 0.0},
    }
    assert table["micro"] == {"precision": 0.6, "recall": 0.75, "f1": 0.6667}
    assert table["macro"] == {"precision": 0.8333, "recall": 0.8333, "f1": 0.8333}
    assert table["macro_labels"] == 2
    assert table["samples_f1"] == 0.6  # 1, 1, 0, 0, and 1 for nothing asked and nothing given
    assert table["exact_match"] == 0.6
    assert table["texts"] == 5


@pytest.mark.parametrize(
    ("min_support", "f1", "labels"), [(0, 0.5556, 3), (1, 0.8333, 2), (2, 0.6667, 1)]
)
def test_macro_figures_leave_out_labels_below_the_support(min_support: int, f1: float, labels: int):
    table = label_table(GIVEN, TARGETS, LABELS, min_support=min_support)
    assert (table["macro"]["f1"], table["macro_labels"]) == (f1, labels)
    assert macro_f1(GIVEN, TARGETS, min_support) == pytest.approx(f1, abs=5e-5)


def test_macro_figures_of_no_label_are_nothing():
    table = label_table(GIVEN, TARGETS, LABELS, min_support=4)
    assert table["macro"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert table["macro_labels"] == 0
    assert macro_f1(GIVEN, TARGETS, min_support=4) == 0.0
    nothing = bools("...", "...")
    intervals = bootstrap_intervals(nothing, nothing, LABELS, seed=0, rounds=5)
    assert intervals == {name: [0.0, 0.0] for name in (*LABELS, "micro", "macro")}


def test_a_codebook_of_one_label_has_figures_too():
    given, targets = bools("x", "x", ".", "."), bools("x", ".", ".", ".")
    table = label_table(given, targets, ["a"])
    assert table["labels"] == {"a": {"support": 1, "precision": 0.5, "recall": 1.0, "f1": 0.6667}}
    assert table["micro"] == table["macro"] == {"precision": 0.5, "recall": 1.0, "f1": 0.6667}
    assert (table["samples_f1"], table["exact_match"]) == (0.75, 0.75)
    assert macro_f1(given, targets) == pytest.approx(2 / 3)


def test_intervals_of_a_single_text_are_points():
    intervals = bootstrap_intervals(bools("x.."), bools("xx."), LABELS, seed=0, rounds=20)
    assert intervals == {
        "a": [1.0, 1.0],
        "b": [0.0, 0.0],
        "c": [0.0, 0.0],
        "micro": [0.6667, 0.6667],
        "macro": [0.5, 0.5],
    }


def test_intervals_hold_the_figure_and_follow_the_seed():
    random = np.random.default_rng(4)
    targets = random.random((300, 2)) < 0.4
    given = targets ^ (random.random((300, 2)) < 0.15)
    first, again, other = (
        bootstrap_intervals(given, targets, "ab", seed=seed, rounds=200) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    figures = f1_score(targets, given, average=None)
    for label, figure in zip("ab", figures, strict=True):
        low, high = first[label]
        assert low < figure < high
        assert 0.03 < high - low < 0.15  # about 120 positives: a standard error near 0.02
    assert first["macro"][0] < figures.mean() < first["macro"][1]


TEXT = "Both ports will share one old crane."


@pytest.mark.parametrize(
    ("one", "other", "f1"),
    [
        ("share one old crane", "share one old crane", 1.0),
        ("share one old crane", "old crane", 2 * 2 / (4 + 2)),
        ("ports will share", "share one", 2 * 1 / (3 + 2)),
        ("Both ports", "old crane", 0.0),
        ("old crane", "old crane.", 1.0),
        ("ld cran", "old crane", 1.0),
    ],
    ids=["same", "inside", "overlap", "apart", "full stop", "parts of words"],
)
def test_spans_are_compared_word_by_word(one: str, other: str, f1: float):
    spans = [(TEXT.index(words), TEXT.index(words) + len(words)) for words in (one, other)]
    assert span_f1(TEXT, *spans) == pytest.approx(f1)
    assert span_f1(TEXT, *spans[::-1]) == pytest.approx(f1)


def test_a_span_without_a_word_has_nothing_in_common():
    assert span_f1(TEXT, (4, 5), (4, 5)) == 0.0
    assert span_f1(TEXT, (0, 4), (35, 36)) == 0.0


def test_words_beyond_ascii_count_by_code_points():
    text = "🚢 Le café « bleu »"
    assert span_f1(text, (2, 9), (5, 16)) == pytest.approx(2 * 1 / (2 + 2))
