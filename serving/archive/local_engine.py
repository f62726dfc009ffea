"""Scoring on this machine: reading, tokenising, inference and writing beside each other."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from serving.archive.ahead import run_ahead
from serving.archive.parts import Part
from serving.archive.scorer import Scored, Scorer


def score_here(parts: Iterator[Part], scorer: Scorer) -> Generator[Scored]:
    """Yield the scored parts in order.

    One thread reads and tokenises, one runs the network, and the caller's turns results into rows
    and writes them; each is at most one part ahead of the next.
    """
    prepared = run_ahead(scorer.prepare(part) for part in parts)
    for ready, raws in run_ahead((each, scorer.run(each)) for each in prepared):
        yield scorer.finish(ready, raws)
