"""Which waiting texts run next: fair between requests, few padded tokens."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")
_PADDING = 1.1  # padded tokens for each token of a batch: more cost more than a batch saves
_AGEING = 0.25  # of a place, for each text that runs, shared by the long requests that wait


def collect_batch(lengths: Sequence[int], *, max_texts: int, max_tokens: int) -> list[int]:
    """Choose the rows of the next batch from waiting texts of `lengths` tokens, most urgent first.

    The most urgent text always runs; the texts nearest to it in length join it while the batch
    holds at most `max_texts` texts and `max_tokens` padded tokens, a tenth of them padding.
    """
    if not lengths:
        return []
    first = lengths[0]
    chosen, widest = [0], first
    tokens = first
    for row in sorted(range(1, len(lengths)), key=lambda row: (abs(lengths[row] - first), row)):
        width = max(widest, lengths[row])
        padded = width * (len(chosen) + 1)
        tokens += lengths[row]
        if len(chosen) == max_texts or padded > min(max_tokens, tokens * _PADDING):
            break
        chosen.append(row)
        widest = width
    return chosen


@dataclass(order=True, slots=True)
class _Waiting(Generic[T]):
    due: float
    arrival: int
    request: _Request = field(compare=False)
    item: T = field(compare=False)


@dataclass(eq=False, slots=True)
class _Request:
    waiting: int


class FairQueue(Generic[T]):
    """A queue in which a request's later texts wait for other requests' first ones.

    After start-time fair queueing (Goyal et al. 1996): a text is due at the clock of its request's
    arrival plus its place in the request. The clock follows the due time of what runs, and moves
    by a quarter, divided by the number of long requests, with each text that runs: so a single
    sentence passes long documents, however many wait, and under an endless stream of singles the
    documents together still get every fifth place.
    Not safe for threads: its owner holds a lock.
    """

    def __init__(self) -> None:
        self._heap: list[_Waiting[T]] = []
        self._arrivals = count()
        self._clock = 0.0
        self._long = 0  # requests of which two texts or more wait

    def __len__(self) -> int:
        return len(self._heap)

    def extend(self, items: Sequence[T]) -> None:
        """Add the texts of one request in order."""
        request = _Request(len(items))
        self._long += request.waiting > 1
        for place, item in enumerate(items):
            waiting = _Waiting(self._clock + place, next(self._arrivals), request, item)
            heapq.heappush(self._heap, waiting)

    def peek(self, limit: int) -> list[T]:
        """Return up to `limit` items, the most urgent first, without taking them."""
        return [waiting.item for waiting in heapq.nsmallest(limit, self._heap)]

    def take(self, limit: int, rows: Sequence[int]) -> list[T]:
        """Take the items at `rows` of what `peek(limit)` returns."""
        urgent = [heapq.heappop(self._heap) for _ in range(min(limit, len(self._heap)))]
        wanted = set(rows)
        if urgent and rows:
            step = _AGEING * len(rows) / max(1, self._long)
            self._clock = max(self._clock, urgent[rows[0]].due) + step
        for row, waiting in enumerate(urgent):
            if row in wanted:
                self._leave(waiting.request)
            else:
                heapq.heappush(self._heap, waiting)
        return [urgent[row].item for row in rows]

    def drop(self, unwanted: set[int]) -> None:
        """Remove the items whose `id()` is in `unwanted`."""
        kept = []
        for waiting in self._heap:
            if id(waiting.item) in unwanted:
                self._leave(waiting.request)
            else:
                kept.append(waiting)
        self._heap = kept
        heapq.heapify(self._heap)

    def _leave(self, request: _Request) -> None:
        self._long -= request.waiting == 2
        request.waiting -= 1
