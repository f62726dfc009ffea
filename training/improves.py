"""Whether added labels make the model better, and whether the review queue chooses them well.

Half of the hand labels are known at the start; the others are added in batches, chosen by the
review queue or at random, and the model is measured on events that it has never seen. Hundreds of
refits must be cheap: an encoder is fine-tuned once on the authored sentences, which never saw a
seed, and frozen. At each step only the last layer of each label's head is refitted, by logistic
regression that is drawn towards where the authored sentences left it (C. Chelba and A. Acero,
"Adaptation of Maximum Entropy Capitalizer: Little Data Can Help a Lot", EMNLP 2004): a few hundred
sentences cannot carry an attention of their own, and the authored sentences need no second reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from diplophrase.errors import InvalidData
from diplophrase.figures import Answers, Difference, compare_answers
from diplophrase.lexicon import add_hits
from diplophrase.review import rank
from training.calibration import PHRASE_WEIGHT
from training.folds import assign_folds
from training.metrics import macro_f1

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # of the pull towards the authored heads
_INNER_FOLDS = 3  # in which a strength is chosen


@dataclass(frozen=True, slots=True)
class Heads:
    """The last layer of each of L labels' heads over H hidden units."""

    weights: Floats  # [L, H]
    biases: Floats  # [L]

    def logits(self, states: Floats) -> Floats:
        """Score the label-wise states [N, L, H] of sentences as logits [N, L]."""
        return np.asarray(np.einsum("nlh,lh->nl", states, self.weights) + self.biases)


@dataclass(frozen=True, slots=True)
class Sentences:
    """N hand-labelled sentences as a frozen encoder reads them; L labels, H hidden units."""

    labels: Sequence[str]  # [L]
    texts: Sequence[str]  # [N]
    states: Floats  # [N, L, H], what each label's attention takes from the sentence
    embeddings: Floats  # [N, H]
    hits: Bools  # [N, L], what the lexicon finds
    targets: Bools  # [N, L]
    events: Sequence[str]  # [N]
    authored: Floats  # [L], how many authored sentences carry each label


@dataclass(frozen=True, slots=True)
class Stage:
    """What is answered on held-out events after `added` labelled sentences more: logits [N, L]."""

    seed: int
    chosen_by: str
    added: float  # mean over the folds
    logits: Floats


@dataclass(frozen=True, slots=True)
class Point:
    """How good a stage is.

    `macro_f1` and `micro_f1` are of the model as it is served, with the lexicon's hits;
    `network_macro_f1` is of the network alone.
    """

    seed: int
    chosen_by: str
    added: float
    macro_f1: float
    micro_f1: float
    network_macro_f1: float

    def to_dict(self) -> dict[str, Any]:
        """Return the point as it stands in JSON."""
        return asdict(self)


# heads, rows known at the start, rows added since, rows left, how many -> the next batch
Chooser = Callable[[Heads, Rows, Rows, Rows, int], Rows]


def compare_choosers(
    sentences: Sentences, authored: Heads, held: Rows, *, seed: int, batch: int
) -> Iterator[Stage]:
    """Yield the stages of the review queue's curve and of random choice, from the same halves.

    `held` [N] gives each sentence's fold, events whole; each fold is held out in turn, and a stage
    has the answers for all of them. The `seed` draws the halves and the random order.
    """
    folds = range(int(held.max()) + 1)
    splits = [split_pool(held, fold, seed, sentences.texts) for fold in folds]
    strengths = [choose_strength(sentences, authored, start, seed) for start, _ in splits]
    choosers: dict[str, Chooser] = {
        "queue": lambda *given: choose_by_queue(sentences, *given),
        "random": lambda heads, start, added, left, count: left[:count],
    }
    for name, chooser in choosers.items():
        steps = [
            add_in_batches(sentences, authored, start, rest, strength, batch, chooser)
            for (start, rest), strength in zip(splits, strengths, strict=True)
        ]
        yield from _answer(sentences, held, steps, seed, name)


def split_pool(held: Rows, fold: int, seed: int, texts: Sequence[str]) -> tuple[Rows, Rows]:
    """Return the rows known at the start and those to be added, both in random order.

    `held` [N] gives each row's fold; the rows of `fold` are in neither half. Of rows with the same
    text one is in the pool, as nobody is asked twice: else random choice would pay for repeats that
    the queue avoids.
    """
    order = np.random.default_rng([seed, fold]).permutation(np.flatnonzero(held != fold))
    pool = np.array(list({texts[row]: row for row in order}.values()), dtype=np.int64)
    middle = len(pool) // 2
    return pool[:middle], pool[middle:]


def add_in_batches(
    sentences: Sentences,
    authored: Heads,
    start: Rows,
    rest: Rows,
    strength: float,
    batch: int,
    chooser: Chooser,
) -> list[tuple[int, Heads]]:
    """Return how many sentences of `rest` were added at each step, from 0 to all, and the heads."""
    added, left = rest[:0], rest
    steps = []
    while True:
        heads = refit(sentences, authored, np.concatenate([start, added]), strength)
        steps.append((len(added), heads))
        if not len(left):
            return steps
        chosen = chooser(heads, start, added, left, batch)
        added = np.concatenate([added, chosen])
        left = left[~np.isin(left, chosen)]


def choose_by_queue(
    sentences: Sentences, heads: Heads, start: Rows, added: Rows, left: Rows, count: int
) -> Rows:
    """Return those `count` of the rows `left` that the review queue puts first.

    As in the service, a label's support counts all hand labels, authored ones too, and what was
    `added` from the queue needs no other like it.
    """
    logits = add_hits(heads.logits(sentences.states[left]), sentences.hits[left], PHRASE_WEIGHT)
    known = np.concatenate([start, added])
    chosen = rank(
        1.0 / (1.0 + np.exp(-logits)),
        np.full(logits.shape[1], 0.5),
        sentences.embeddings[left],
        sentences.authored + sentences.targets[known].sum(0),
        count=count,
        known=sentences.embeddings[added],
    )
    return left[[item.row for item in chosen]]


def refit(sentences: Sentences, authored: Heads, known: Rows, strength: float) -> Heads:
    """Fit the heads to the rows `known`, drawn towards `authored` with that `strength`."""
    with threadpool_limits(1):  # two threads take ten times as long over matrices this small
        fitted = [
            _fit_label(
                sentences.states[known, label].astype(np.float64),
                sentences.targets[known, label].astype(np.float64),
                np.append(authored.weights[label], authored.biases[label]).astype(np.float64),
                strength,
            )
            for label in range(len(authored.biases))
        ]
    values = np.stack(fitted)
    return Heads(values[:, :-1], values[:, -1])


def _fit_label(states: Floats, targets: Floats, prior: Floats, strength: float) -> Floats:
    """Minimise log loss plus the squared distance to `prior` [H + 1], whose last is the bias."""
    inputs = np.column_stack([states, np.ones(len(states))])

    def objective(values: Floats) -> tuple[float, Floats]:
        margins, distance = inputs @ values, values - prior
        loss = np.logaddexp(0.0, margins).sum() - targets @ margins
        excess = 1.0 / (1.0 + np.exp(-np.clip(margins, -60.0, 60.0))) - targets
        value = loss + 0.5 * strength * (distance @ distance)
        return float(value), inputs.T @ excess + strength * distance

    return np.asarray(minimize(objective, prior, method="L-BFGS-B", jac=True).x)


def choose_strength(sentences: Sentences, authored: Heads, known: Rows, seed: int) -> float:
    """Return which of `STRENGTHS` predicts best, by log loss, inside the rows `known` alone."""
    events = [sentences.events[row] for row in known]
    targets = sentences.targets[known]
    inner = assign_folds(events, targets.astype(np.float32), folds=_INNER_FOLDS, seed=seed)
    losses = []
    for strength in STRENGTHS:
        logits = np.zeros(targets.shape)
        for fold in range(_INNER_FOLDS):
            heads = refit(sentences, authored, known[inner != fold], strength)
            logits[inner == fold] = heads.logits(sentences.states[known[inner == fold]])
        losses.append(float((np.logaddexp(0.0, logits) - targets * logits).sum()))
    return STRENGTHS[int(np.argmin(losses))]


def _answer(
    sentences: Sentences,
    held: Rows,
    steps: Sequence[Sequence[tuple[int, Heads]]],
    seed: int,
    name: str,
) -> Iterator[Stage]:
    """Yield a stage for each step; a fold with fewer steps stays as it was at its last."""
    for step in range(max(map(len, steps))):
        logits = np.zeros(sentences.targets.shape)
        added = []
        for fold, own in enumerate(steps):
            count, heads = own[min(step, len(own) - 1)]
            logits[held == fold] = heads.logits(sentences.states[held == fold])
            added.append(count)
        yield Stage(seed, name, round(float(np.mean(added)), 1), logits)


def answer_authored(sentences: Sentences, authored: Heads) -> Stage:
    """Return what the heads answer that have seen no seed at all."""
    return Stage(0, "authored only", 0.0, authored.logits(sentences.states))


def _served(sentences: Sentences, stage: Stage) -> Bools:
    return np.asarray(add_hits(stage.logits, sentences.hits, PHRASE_WEIGHT) > 0)


def measure(sentences: Sentences, stage: Stage) -> Point:
    """Hold the answers of a stage against the hand labels."""
    served = _served(sentences, stage)
    micro = f1_score(sentences.targets, served, average="micro", zero_division=0)
    return Point(
        seed=stage.seed,
        chosen_by=stage.chosen_by,
        added=stage.added,
        macro_f1=round(macro_f1(served, sentences.targets), 4),
        micro_f1=round(float(micro), 4),
        network_macro_f1=round(macro_f1(stage.logits > 0, sentences.targets), 4),
    )


def measure_lead(
    sentences: Sentences, stages: Sequence[Stage], *, network_alone: bool = False
) -> Difference:
    """Return macro-F1 of random choice and of the queue over all stages between both ends.

    The answers of all seeds and steps are pooled; the interval of the difference is by a paired
    bootstrap over events, as the seeds share them and say nothing of other events.

    Raises:
        InvalidData: if no stage lies between the ends.
    """
    sides = {name: _between(stages, name) for name in ("random", "queue")}
    count = len(sides["queue"])
    if not count:
        raise InvalidData(
            "Between the first and the last batch there is nothing to compare. Give a smaller "
            "--batch."
        )
    given = {
        name: np.concatenate(
            [stage.logits > 0 if network_alone else _served(sentences, stage) for stage in side]
        )
        for name, side in sides.items()
    }
    paired = compare_answers(
        Answers(given["random"], given["random"].astype(float)),
        Answers(given["queue"], given["queue"].astype(float)),
        np.tile(sentences.targets, (count, 1)),
        sentences.labels,
        list(sentences.events) * count,
    )
    return paired.macro_f1


def _between(stages: Sequence[Stage], name: str) -> list[Stage]:
    """Return the stages of one way of choosing but for each seed's first and last."""
    found = []
    for seed in dict.fromkeys(stage.seed for stage in stages):
        found += [s for s in stages if (s.seed, s.chosen_by) == (seed, name)][1:-1]
    return found
