"""Paired figures on constructed answers: a known difference is found, noise is not."""

from __future__ import annotations

import numpy as np
import pytest

from diplophrase.figures import Answers, Paired, compare_answers

LABELS = ("harbour", "school", "river")


def answers(given: np.ndarray, scores: np.ndarray | None = None) -> Answers:
    return Answers(given, np.where(given, 0.9, 0.1) if scores is None else scores)


def alone(count: int) -> list[str]:
    return [f"s{k}" for k in range(count)]


def random_case(seed: int, sentences: int = 600) -> tuple[np.ndarray, np.random.Generator]:
    random = np.random.default_rng(seed)
    return random.random((sentences, len(LABELS))) < (0.2, 0.1, 0.05), random


def err(gold: np.ndarray, random: np.random.Generator, *, missed: float) -> np.ndarray:
    """Return answers that miss that share of what is there, and give a hundredth too much."""
    return np.where(gold, random.random(gold.shape) >= missed, random.random(gold.shape) < 0.01)


def test_figures_of_a_table_that_can_be_counted_by_hand() -> None:
    gold = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    one = gold.copy()
    other = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]], dtype=bool)
    found = compare_answers(answers(one), answers(other), gold, LABELS, alone(4))
    # harbour: precision 1, recall 1/3; school: precision 2/3, recall 1; river does not occur
    assert (found.sentences, found.units, found.macro_labels) == (4, 4, 2)
    assert (found.macro_f1.a, found.macro_f1.b) == (1.0, pytest.approx((0.5 + 0.8) / 2))
    assert found.macro_f1.difference == pytest.approx(-0.35)
    assert [(row.label, row.support) for row in found.recalls] == [("harbour", 3), ("school", 2)]
    assert [row.recall.difference for row in found.recalls] == [-0.6667, 0.0]
    assert found.calibration_error == (0.1, 0.15)  # 3 of 4 at 0.9, 2 of 8 at 0.1


def test_the_same_answers_do_not_differ() -> None:
    gold, random = random_case(1)
    given = err(gold, random, missed=0.1)
    found = compare_answers(answers(given), answers(given), gold, LABELS, alone(len(gold)))
    assert (found.macro_f1.difference, found.macro_f1.interval) == (0.0, (0.0, 0.0))
    assert {row.joint_interval for row in found.recalls} == {(0.0, 0.0)}


def test_a_known_difference_is_found_and_lies_in_its_interval() -> None:
    gold, random = random_case(2)
    one = err(gold, random, missed=0.05)
    other = one.copy()
    held = np.flatnonzero(gold[:, 0] & one[:, 0])
    other[held[: len(held) // 4], 0] = False
    found = compare_answers(answers(one), answers(other), gold, LABELS, alone(len(gold)))
    harbour, school, _ = found.recalls
    low, high = harbour.joint_interval
    assert low < harbour.recall.difference < high < 0
    assert harbour.recall.difference == pytest.approx(-0.24, abs=0.02)
    assert school.recall.difference == 0
    assert found.macro_f1.interval[1] < 0


def condemned(found: Paired, *, joint: bool) -> bool:
    return any(
        (row.joint_interval if joint else row.recall.interval)[1] < 0 for row in found.recalls
    )


def test_noise_is_not_taken_for_a_difference() -> None:
    alarms = {True: 0, False: 0}
    for seed in range(60):
        gold, random = random_case(seed, sentences=300)
        one, other = (answers(err(gold, random, missed=0.15)) for _ in range(2))
        found = compare_answers(one, other, gold, LABELS, alone(300), draws=2_000)
        for joint in alarms:
            alarms[joint] += condemned(found, joint=joint)
    assert alarms[True] <= 3  # in a twentieth of the comparisons, whichever label it is
    assert alarms[True] <= alarms[False]


def test_sentences_of_one_event_are_drawn_together() -> None:
    gold = np.zeros((400, 3), dtype=bool)
    gold[:, 0] = True
    other = gold.copy()
    other[:40, 0] = False  # all of one event: it may be that event's doing
    one = answers(gold)
    events = [f"e{k // 40}" for k in range(400)]
    single = compare_answers(one, answers(other), gold, LABELS, alone(400))
    by_event = compare_answers(one, answers(other), gold, LABELS, events)
    assert [found.recalls[0].recall.difference for found in (single, by_event)] == [-0.1, -0.1]
    assert single.recalls[0].joint_interval[1] < 0
    assert by_event.units == 10
    assert by_event.recalls[0].joint_interval[1] == 0


def test_a_label_in_two_sentences_is_not_evidence() -> None:
    gold = np.zeros((200, 3), dtype=bool)
    gold[:2, 0] = True
    other = np.zeros_like(gold)
    found = compare_answers(answers(gold), answers(other), gold, LABELS, alone(200))
    assert found.recalls[0].recall.difference == -1.0
    assert found.recalls[0].recall.interval[1] == 0.0


def test_the_macro_figures_leave_out_labels_of_little_support() -> None:
    gold, _ = random_case(3, sentences=100)
    gold[:, 2] = False
    gold[:4, 2] = True
    other = gold.copy()
    other[:, 2] = False
    units = alone(100)
    every = compare_answers(answers(gold), answers(other), gold, LABELS, units)
    few = compare_answers(answers(gold), answers(other), gold, LABELS, units, min_support=5)
    assert (every.macro_labels, few.macro_labels) == (3, 2)
    assert every.macro_f1.difference == pytest.approx(-1 / 3, abs=1e-3)
    assert few.macro_f1.difference == 0.0


def test_a_seed_repeats_the_figures() -> None:
    gold, random = random_case(4)
    one, other = (answers(err(gold, random, missed=0.2)) for _ in range(2))
    units = alone(len(gold))
    found = [compare_answers(one, other, gold, LABELS, units, seed=seed) for seed in (1, 1, 2)]
    assert found[0] == found[1]
    assert found[0] != found[2]
