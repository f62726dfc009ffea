"""A step of a pipeline that runs in a thread of its own, a bounded number of items ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

T = TypeVar("T")

_WAIT_S = 0.1


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def run_ahead(items: Iterable[T], size: int = 1) -> Iterator[T]:
    """Yield `items` in order, made in a thread that is at most `size` items ahead.

    An error of the thread is raised here. The thread ends when this generator is closed.
    """
    queue: Queue[T | _End] = Queue(maxsize=size)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(queue, items, stop), daemon=True)
    thread.start()
    try:
        while not isinstance(item := _take(queue, thread), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()


def _fill(queue: Queue[T | _End], items: Iterable[T], stop: threading.Event) -> None:
    try:
        for item in items:
            if not _put(queue, item, stop):
                return
        _put(queue, _End(None), stop)
    except BaseException as error:  # raised again where the items are used
        _put(queue, _End(error), stop)


def _put(queue: Queue[T | _End], item: T | _End, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            queue.put(item, timeout=_WAIT_S)
            return True
        except Full:
            continue
    return False


def _take(queue: Queue[T | _End], thread: threading.Thread) -> T | _End:
    while True:
        try:
            return queue.get(timeout=1.0)
        except Empty:
            if not thread.is_alive() and queue.empty():
                return _End(RuntimeError("the step ended without a word"))
