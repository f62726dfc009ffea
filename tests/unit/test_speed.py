"""The ratio of two speeds, on a clock that only answering moves."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from test_bundle import config

from diplophrase.bundle import BundleConfig
from diplophrase.speed import Speed, measure_speed, speed_texts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Version:
    """Takes so many seconds a text, but for the turns that are spoilt."""

    def __init__(self, clock: Clock, seconds: float, spoilt: Sequence[int] = ()) -> None:
        self.clock, self.seconds, self.spoilt, self.turns = clock, seconds, spoilt, 0

    def classify(self, texts: Sequence[str]) -> None:
        self.clock.now += self.seconds * len(texts) * (50 if self.turns in self.spoilt else 1)
        self.turns += 1


def measure(a: Version, b: Version, **options: float) -> Speed:
    given = {"rounds": 9, "longest_s": 1e9} | options
    texts = ["a text"] * 10
    return measure_speed(a, b, texts, clock=a.clock, wall_clock=a.clock, **given)  # type: ignore[arg-type]


def test_the_ratio_is_that_of_the_speeds() -> None:
    clock = Clock()
    found = measure(Version(clock, 0.01), Version(clock, 0.0125))
    assert found == Speed(a_per_s=100.0, b_per_s=80.0, ratio=0.8, rounds=9)


def test_spoilt_rounds_are_outvoted() -> None:
    clock = Clock()
    spoilt = Version(clock, 0.01, spoilt=(1, 2, 5, 9))
    assert measure(Version(clock, 0.01), spoilt).ratio == 1.0


def test_a_slow_machine_ends_after_the_first_rounds() -> None:
    clock = Clock()
    assert measure(Version(clock, 1.0), Version(clock, 1.0), longest_s=3.0).rounds == 5


@pytest.mark.parametrize("words", ["one", "one two three " * 60])
def test_texts_have_short_and_long_sentences_of_the_definitions(words: str) -> None:
    settings = config()
    for label in settings["labels"]:
        label["definition"] = words
    texts = speed_texts(BundleConfig.model_validate(settings))
    assert len(texts) == 18
    assert sorted({len(text.split()) for text in texts}) == [6, 14, 22, 30, 45, 70]
