"""How fast one version answers beside another, measured in turns on the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from diplophrase.bundle import BundleConfig

ROUNDS = 15
LONGEST_S = 8.0
_LEAST_ROUNDS = 5
_WORDS = (6, 14, 22, 30, 45, 70)  # as short and long sentences of statements have


class Answering(Protocol):
    """What answers texts, as `diplophrase.Classifier` does."""

    def classify(self, texts: Sequence[str]) -> object:
        """Answer for `texts`."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Sentences a second of processor time of both versions, and B's by A's: medians."""

    a_per_s: float
    b_per_s: float
    ratio: float
    rounds: int


def measure_speed(
    a: Answering,
    b: Answering,
    texts: Sequence[str],
    *,
    rounds: int = ROUNDS,
    longest_s: float = LONGEST_S,
    clock: Callable[[], float] = time.thread_time,
    wall_clock: Callable[[], float] = time.monotonic,
) -> Speed:
    """Let both versions answer `texts`, in turns, and compare them round by round.

    Versions that run in the calling thread, as classifiers with one thread and one runner do, are
    timed by that thread's processor time: on the clock on the wall, a machine with other work to
    do made one of two identical networks a fifth slower. After `longest_s` seconds on the wall no
    round begins, but for the first few.
    """
    pairs: list[tuple[float, float]] = []
    for version in (a, b):
        version.classify(texts)  # the first run of a network makes its plan
    began = wall_clock()
    while len(pairs) < rounds and (len(pairs) < _LEAST_ROUNDS or wall_clock() - began < longest_s):
        if len(pairs) % 2 == 0:
            one = _seconds(a, texts, clock)
            pairs.append((one, _seconds(b, texts, clock)))
        else:
            other = _seconds(b, texts, clock)
            pairs.append((_seconds(a, texts, clock), other))
    return Speed(
        a_per_s=round(len(texts) / median(one for one, _ in pairs), 1),
        b_per_s=round(len(texts) / median(other for _, other in pairs), 1),
        ratio=round(median(one / other for one, other in pairs), 3),
        rounds=len(pairs),
    )


def _seconds(version: Answering, texts: Sequence[str], clock: Callable[[], float]) -> float:
    began = clock()
    version.classify(texts)
    return clock() - began


def speed_texts(config: BundleConfig) -> list[str]:
    """Return texts of `_WORDS` words, three of each, from the definitions of the labels."""
    words = " ".join(label.definition for label in config.labels).split()
    words *= 1 + max(_WORDS) * 3 // len(words)
    return [
        " ".join((words[start:] + words[:start])[:count])
        for count in _WORDS
        for start in (0, len(words) // 3, len(words) * 2 // 3)
    ]
