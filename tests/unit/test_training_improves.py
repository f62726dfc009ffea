"""Labels added in batches: what is known when, how heads are refitted, what the curves hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidData
from training.finetune import Step
from training.improves import (
    STRENGTHS,
    Heads,
    Sentences,
    Stage,
    add_in_batches,
    answer_authored,
    choose_by_queue,
    choose_strength,
    compare_choosers,
    measure,
    measure_lead,
    refit,
    split_pool,
)
from training.label_states import learn_states

COUNT, LABEL_COUNT, HIDDEN = 60, 3, 5
HELD = np.arange(COUNT) % 12 // 4  # three folds of four events each
TEXTS = [f"text {row}" for row in range(COUNT)]
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
        labels=["one", "two", "three"],
        texts=TEXTS,
        states=states,
        embeddings=states.mean(1),
        hits=np.zeros((COUNT, LABEL_COUNT), dtype=bool),
        targets=margins > 0.3,
        events=[f"event {row % 12}" for row in range(COUNT)],
        authored=np.zeros(LABEL_COUNT),
    )


def test_the_held_out_fold_is_in_neither_half():
    start, rest = split_pool(HELD, 1, 5, TEXTS)
    assert sorted([*start, *rest]) == np.flatnonzero(HELD != 1).tolist()
    assert (len(start), len(rest)) == (20, 20)


def test_the_same_text_is_in_the_pool_once():
    texts = ["said twice" if row in (0, 5) else f"text {row}" for row in range(COUNT)]
    start, rest = split_pool(HELD, 1, 5, texts)
    pool = [texts[row] for row in (*start, *rest)]
    assert sorted(pool) == sorted({texts[row] for row in np.flatnonzero(HELD != 1)})


def test_the_seed_draws_the_halves():
    assert split_pool(HELD, 1, 5, TEXTS)[0].tolist() == split_pool(HELD, 1, 5, TEXTS)[0].tolist()
    assert split_pool(HELD, 1, 5, TEXTS)[0].tolist() != split_pool(HELD, 1, 6, TEXTS)[0].tolist()


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

    def chooser(
        heads: Heads, start: np.ndarray, added: np.ndarray, left: np.ndarray, count: int
    ) -> np.ndarray:
        assert added.tolist() == [row for batch in asked for row in batch]
        assert not {*start, *added} & set(left)
        asked.append(left[-count:].tolist())
        return left[-count:]

    start, rest = split_pool(HELD, 0, 1, TEXTS)
    steps = add_in_batches(sentences, NOTHING, start, rest, 1.0, 8, chooser)
    assert [added for added, _ in steps] == [0, 8, 16, 20]
    assert sorted(row for batch in asked for row in batch) == sorted(rest)
    whole = refit(sentences, NOTHING, np.concatenate([start, rest]), 1.0)
    assert steps[-1][1].weights == pytest.approx(whole.weights, abs=1e-3)


def four_sentences(**changes: object) -> Sentences:
    """Four sentences of one label; the model of `SURE` is sure of all but the third."""
    states = np.zeros((4, 1, 1))
    states[:, 0, 0] = [9.0, -9.0, 0.1, 7.0]
    fields = {
        "labels": ["only"],
        "texts": ["a", "b", "c", "d"],
        "states": states,
        "embeddings": np.eye(4),
        "hits": np.zeros((4, 1), dtype=bool),
        "targets": np.array([[True], [False], [True], [True]]),
        "events": ["a", "b", "c", "d"],
        "authored": np.zeros(1),
    }
    return Sentences(**(fields | changes))


SURE = Heads(np.array([[1.0]]), np.array([0.5]))
NO_ROWS = np.array([], dtype=np.int64)


def test_the_queue_prefers_what_the_model_is_unsure_of():
    left = np.array([1, 2, 3])
    assert choose_by_queue(four_sentences(), SURE, np.array([0]), NO_ROWS, left, 1).tolist() == [2]


def test_the_queue_avoids_what_is_like_sentences_that_came_from_it():
    states = np.full((4, 1, 1), 7.0)
    alike = four_sentences(states=states, embeddings=np.eye(4)[[0, 1, 1, 2]])
    start, added, left = np.array([0]), np.array([1]), np.array([2, 3])
    assert choose_by_queue(alike, SURE, start, added, left, 1).tolist() == [3]
    assert choose_by_queue(alike, SURE, np.array([0, 1]), NO_ROWS, left, 1).tolist() == [2]


def test_the_queue_counts_authored_labels_as_support():
    states = np.array([[[0.0], [0.0]], [[9.0], [-9.0]], [[-9.0], [9.0]]])
    pair = four_sentences(
        labels=["one", "two"],
        states=states,
        embeddings=np.eye(3),
        hits=np.zeros((3, 2), dtype=bool),
        targets=np.array([[True, True], [True, False], [False, True]]),
    )
    heads, start, left = Heads(np.ones((2, 1)), np.zeros(2)), np.array([0]), np.array([1, 2])
    first = {
        common: choose_by_queue(
            replace(pair, authored=np.where(np.arange(2) == common, 99.0, 0.0)),
            heads,
            start,
            NO_ROWS,
            left,
            1,
        ).tolist()
        for common in (0, 1)
    }
    assert first == {0: [2], 1: [1]}  # the sentence with the rarer label


def test_both_curves_begin_and_end_alike(sentences: Sentences):
    stages = list(compare_choosers(sentences, NOTHING, HELD, seed=4, batch=8))
    queue, random = (
        [measure(sentences, stage) for stage in stages if stage.chosen_by == name]
        for name in ("queue", "random")
    )
    assert [point.added for point in queue] == [point.added for point in random] == [0, 8, 16, 20]
    for place in (0, -1):
        assert queue[place].macro_f1 == random[place].macro_f1
        assert queue[place].network_macro_f1 == random[place].network_macro_f1
    alone = measure(sentences, answer_authored(sentences, NOTHING))
    assert queue[-1].network_macro_f1 > alone.network_macro_f1


def stage(name: str, added: float, *answers: bool) -> Stage:
    return Stage(1, name, added, np.where(np.array(answers), 1.0, -1.0)[:, None])


def test_the_lead_is_between_both_ends_with_its_interval_over_events():
    right, wrong = (True, False, True, True), (False, False, False, True)
    stages = [
        stage(name, added, *answers)
        for name, middle in (("queue", right), ("random", wrong))
        for added, answers in ((0, wrong), (40, middle), (80, wrong), (90, right))
    ]
    lead = measure_lead(four_sentences(), stages, network_alone=True)
    # 3 of 3 and then 1 of 3 found, against 1 of 3 twice; nothing given wrongly
    assert (lead.a, lead.b) == (0.5, 0.8)
    assert lead.difference == 0.3
    low, high = lead.interval
    assert low < 0.3 < high
    served = measure_lead(four_sentences(hits=np.ones((4, 1), dtype=bool)), stages)
    assert (served.a, served.b) == (0.8571, 0.8571)  # a hit outweighs a logit of -1


def test_without_a_stage_between_the_ends_there_is_no_lead():
    stages = [stage(name, 0, *[True] * 4) for name in ("queue", "random")] * 2
    with pytest.raises(InvalidData, match=r"^Between the first and the last batch there is"):
        measure_lead(four_sentences(), stages)


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
    assert len(steps) == 4  # other sentences are read by the encoder that is there
    assert len(list(tmp_path.glob("states-*.npz"))) == 3
