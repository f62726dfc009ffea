"""Which waiting texts run next."""

from __future__ import annotations

import pytest

from serving.batching import FairQueue, collect_batch


@pytest.mark.parametrize(
    ("lengths", "max_texts", "max_tokens", "chosen"),
    [
        ([], 16, 512, []),
        ([900], 16, 512, [0]),  # one long text runs, over the bound or not
        ([10, 10, 10], 2, 512, [0, 1]),
        ([10, 100, 11, 12], 16, 40, [0, 2, 3]),  # the nearest in length join
        ([100, 99, 98], 16, 200, [0, 1]),  # 3 x 100 padded tokens would be too many
        ([10, 300, 20], 16, 512, [0]),  # 2 x 20 padded tokens for 30 would be too many
        ([20, 18, 17, 25], 16, 512, [0, 1, 2]),
    ],
)
def test_collect_batch(
    lengths: list[int], max_texts: int, max_tokens: int, chosen: list[int]
) -> None:
    assert collect_batch(lengths, max_texts=max_texts, max_tokens=max_tokens) == chosen


def test_a_single_text_passes_a_long_document() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.extend([f"document {place}" for place in range(5)])
    queue.extend(["single"])
    assert queue.peek(3) == ["document 0", "single", "document 1"]


def test_a_document_moves_on_under_a_stream_of_singles() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.extend(["first", "second", "third"])
    served = []
    for number in range(12):
        queue.extend([f"single {number}"])
        served += queue.take(1, [0])
    assert [item for item in served if not item.startswith("single")] == [
        "first",
        "second",
        "third",
    ]


def test_a_single_text_passes_many_requests_that_are_under_way() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(20):
        queue.extend(["long"] * 30)
    for _ in range(200):
        queue.take(1, [0])
    queue.extend(["single"])
    waited = next(number for number in range(400) if queue.take(1, [0]) == ["single"])
    assert waited <= 20  # a turn of each; held back to its arrival's order, it would be 400


def test_documents_together_get_every_fifth_place_under_a_stream_of_singles() -> None:
    queue: FairQueue[str] = FairQueue()
    for _ in range(5):
        queue.extend(["long"] * 100)
    served = []
    for _ in range(505):
        queue.extend(["single"])
        served += queue.take(1, [0])
    assert 95 <= served.count("long") <= 110


def test_requests_that_were_dropped_or_served_do_not_slow_the_documents() -> None:
    queue: FairQueue[list[str]] = FairQueue()
    for _ in range(20):
        left, served = ([[name], [name], [name]] for name in ("left", "served"))
        queue.extend(left)
        queue.drop({id(item) for item in left})
        queue.extend(served)
        queue.take(3, [0, 1, 2])
    queue.extend([["long"] for _ in range(10)])
    taken = []
    for _ in range(50):
        queue.extend([["single"]])
        taken += queue.take(1, [0])
    assert taken.count(["long"]) >= 9


def test_take_leaves_the_others_in_their_order() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.extend(["a", "b", "c", "d"])
    assert queue.take(4, [0, 2]) == ["a", "c"]
    assert queue.peek(9) == ["b", "d"]
    assert len(queue) == 2


def test_dropped_items_never_come() -> None:
    queue: FairQueue[list[int]] = FairQueue()
    kept, dropped = [1], [2]
    queue.extend([dropped, kept])
    queue.drop({id(dropped)})
    assert queue.peek(2) == [[1]]
