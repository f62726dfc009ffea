"""Labels added in batches: what is known when, how heads are refitted, what the curves hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from diplophrase.classifier import Classifier
from training.finetune import Step
from training.improves import (
    STRENGTHS,
    Heads,
    Sentences,
    add_in_batches,
    choose_by_queue,
    choose_strength,
    compare_choosers,
    measure_authored,
    refit,
    split_pool,
)
from training.label_states import learn_states

COUNT, LABEL_COUNT, HIDDEN = 60, 3, 5
HELD = np.arange(COUNT) % 12 // 4  # three folds of four events each
NOTHING = Heads(np.zeros((LABEL_COUNT, HIDDEN)), np.zeros(LABEL_COUNT))


def ignore(step: Step) -> None:
    """Take a step's progress and do nothing with it."""


@pytest.fixture(scope="module")
def sentences() -> Sentences:
    """Sixty sentences of twelve events, whose labels are a noisy linear reading of their states."""
    random = np.random.default_rng(3)
    states = random.normal(size=(COUNT, LABEL_COUNT, HIDDEN))
    truth = random.normal(size=(LABEL_COUNT, HIDDEN))
    margins = np.einsum("nlh,lh->nl", states, truth) + random.normal(size=(COUNT, LABEL_COUNT))
    return Sentences(
        states=states,
        embeddings=states.mean(1),
        hits=np.zeros((COUNT, LABEL_COUNT), dtype=bool),
        targets=margins > 0.3,
        events=[f"event {row % 12}" for row in range(COUNT)],
    )


def test_the_held_out_fold_is_in_neither_half():
    start, rest = split_pool(HELD, 1, seed=5)
    assert sorted([*start, *rest]) == np.flatnonzero(HELD != 1).tolist()
    assert (len(start), len(rest)) == (20, 20)


def test_the_seed_draws_the_halves():
    assert split_pool(HELD, 1, seed=5)[0].tolist() == split_pool(HELD, 1, seed=5)[0].tolist()
    assert split_pool(HELD, 1, seed=5)[0].tolist() != split_pool(HELD, 1, seed=6)[0].tolist()


def test_without_a_prior_of_its_own_a_refit_is_ridge_logistic_regression(sentences: Sentences):
    rows = np.arange(40)
    fitted = refit(sentences, NOTHING, rows, 2.0)
    for label in range(LABEL_COUNT):
        inputs = np.column_stack([sentences.states[rows, label], np.ones(len(rows))])
        rival = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-8)
        rival.fit(inputs, sentences.targets[rows, label])
        found = np.append(fitted.weights[label], fitted.biases[label])
        assert found == pytest.approx(rival.coef_[0], abs=1e-3)


def test_a_strong_pull_leaves_the_heads_where_they_were(sentences: Sentences):
    random = np.random.default_rng(1)
    prior = Heads(random.normal(size=(LABEL_COUNT, HIDDEN)), random.normal(size=LABEL_COUNT))
    fitted = refit(sentences, prior, np.arange(40), 1e9)
    assert fitted.weights == pytest.approx(prior.weights, abs=1e-6)
    assert fitted.biases == pytest.approx(prior.biases, abs=1e-6)


def test_the_strength_is_weak_where_the_prior_is_wrong_and_strong_where_it_is_right(
    sentences: Sentences,
):
    known = np.arange(COUNT)
    good = refit(sentences, NOTHING, known, 0.3)
    bad = Heads(-5 * good.weights, -5 * good.biases)
    assert choose_strength(sentences, bad, known, 7) == min(STRENGTHS)
    assert choose_strength(sentences, good, known, 7) > min(STRENGTHS)


def test_batches_add_every_row_once(sentences: Sentences):
    asked: list[list[int]] = []

    def chooser(heads: Heads, known: np.ndarray, left: np.ndarray, count: int) -> np.ndarray:
        assert not set(known) & set(left)
        asked.append(left[-count:].tolist())
        return left[-count:]

    start, rest = split_pool(HELD, 0, seed=1)
    steps = add_in_batches(sentences, NOTHING, start, rest, 1.0, 8, chooser)
    assert [added for added, _ in steps] == [0, 8, 16, 20]
    assert sorted(row for batch in asked for row in batch) == sorted(rest)
    whole = refit(sentences, NOTHING, np.concatenate([start, rest]), 1.0)
    assert steps[-1][1].weights == pytest.approx(whole.weights, abs=1e-3)


def test_the_queue_prefers_what_the_model_is_unsure_of():
    states = np.zeros((4, 1, 1))
    states[:, 0, 0] = [9.0, -9.0, 0.1, 7.0]
    four = Sentences(
        states=states,
        embeddings=np.eye(4),
        hits=np.zeros((4, 1), dtype=bool),
        targets=np.array([[True], [False], [True], [True]]),
        events=["a", "b", "c", "d"],
    )
    heads = Heads(np.array([[1.0]]), np.array([0.5]))
    known, left = np.array([0]), np.array([1, 2, 3])
    assert choose_by_queue(four, heads, known, left, 1).tolist() == [2]


def test_both_curves_begin_and_end_alike(sentences: Sentences):
    points = list(compare_choosers(sentences, NOTHING, HELD, seed=4, batch=8))
    queue, random = (
        [point for point in points if point.chosen_by == name] for name in ("queue", "random")
    )
    assert [point.added for point in queue] == [point.added for point in random] == [0, 8, 16, 20]
    for place in (0, -1):
        assert queue[place].macro_f1 == random[place].macro_f1
        assert queue[place].network_macro_f1 == random[place].network_macro_f1
    assert queue[-1].network_macro_f1 > measure_authored(sentences, NOTHING).network_macro_f1


def test_states_and_heads_give_the_logits_of_the_network(trained, tmp_path: Path):
    texts = [note.text for note in trained.notes]
    read = learn_states(trained.recipe, trained.notes, texts, trained.config, tmp_path, ignore)
    network = Classifier.load(trained.candidate.float32)  # learnt the same, by the same seed
    raws = network.run(network.encode(texts))
    logits = Heads(read.weights, read.biases).logits(read.states)
    assert logits == pytest.approx(np.stack([raw.logits for raw in raws]), abs=1e-2)
    assert read.embeddings == pytest.approx(np.stack([raw.embedding for raw in raws]), abs=1e-3)


def test_what_was_learnt_is_kept_for_the_same_sentences_and_config(trained, tmp_path: Path):
    config = replace(trained.config, epochs=1)
    texts = [note.text for note in trained.notes]
    steps: list[Step] = []
    for known in (trained.notes, trained.notes, trained.notes[1:]):
        learn_states(trained.recipe, known, texts, config, tmp_path, steps.append)
    assert [step.number for step in steps] == [1, 2, 1, 2]
    learn_states(trained.recipe, trained.notes, texts[1:], config, tmp_path, steps.append)
    assert len(steps) == 6
    assert len(list(tmp_path.iterdir())) == 3
