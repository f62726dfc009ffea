"""The client for asyncio."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from diplophrase.client_answers import Answer, Lost, plan_retry, require
from diplophrase.client_calls import (
    Call,
    Retry,
    check_base_url,
    check_positive,
    plan_classify,
    plan_statement,
)
from diplophrase.client_jobs import AsyncOperationCalls
from diplophrase.client_labels import AsyncLabelCalls
from diplophrase.client_network import (
    DEFAULT_RETRY,
    DEFAULT_URL,
    open_async_http,
    phase_timeouts,
    send_once_async,
)
from diplophrase.client_results import (
    ClassifyResult,
    LabelsResult,
    StatementResult,
    read_classify,
    read_labels,
    read_ready,
    read_statement,
)

if TYPE_CHECKING:
    import httpx


class AsyncClient(AsyncLabelCalls, AsyncOperationCalls):
    """Asks the service from asyncio, with at most `concurrency` requests in flight.

    The bound holds for all calls of one client together; a request that waits for another
    attempt counts as in flight, one that waits for its turn does not use up its deadline.
    `timeout_s` bounds an attempt as a whole; for the other arguments see `Client`. Use it within
    one event loop.

    Raises:
        SettingsError: if the address, the key or a number cannot be used.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        batch_size: int = 64,
        concurrency: int = 4,
        timeout_s: float = 60.0,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_positive(batch_size=batch_size, concurrency=concurrency, timeout_s=timeout_s)
        self._base_url = check_base_url(base_url)
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._turns = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._retry = retry
        self._sleep, self._jitter, self._clock = sleep, jitter, clock
        self._http = open_async_http(api_key, transport, concurrency)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used any more."""
        await self._http.aclose()

    async def classify(
        self,
        texts: Iterable[str],
        *,
        evidence: bool = True,
        scores: bool = False,
        precision: float | None = None,
    ) -> ClassifyResult:
        """Return one result for each text, in order; see `Client.classify`.

        The first request to fail ends the others.
        """
        calls = plan_classify(
            self._base_url,
            texts,
            batch_size=self._batch_size,
            evidence=evidence,
            scores=scores,
            precision=precision,
        )
        return read_classify(calls, await self._send_all(calls))

    async def classify_statement(
        self,
        text: str,
        *,
        id: str | None = None,  # noqa: A002 - the name it has in the answer
        evidence: bool = True,
        precision: float | None = None,
    ) -> StatementResult:
        """Return the sentences of a statement; see `Client.classify_statement`."""
        call = plan_statement(self._base_url, text, id=id, evidence=evidence, precision=precision)
        return read_statement(call, await self._send(call))

    async def labels(self) -> LabelsResult:
        """Return the labels that the service's model knows; see `Client.labels`."""
        call = Call("GET", f"{self._base_url}/v1/labels")
        return read_labels(call, await self._send(call))

    async def ready(self) -> bool:
        """Tell whether the service takes requests; see `Client.ready`. Waits for no turn."""
        call = Call("GET", f"{self._base_url}/readyz")
        return read_ready(call, await self._attempt(call, self._retry.deadline_s))

    async def _send_all(self, calls: Sequence[Call]) -> list[Answer]:
        answers: dict[int, Answer] = {}
        waiting = iter(enumerate(calls))

        async def work() -> None:
            for place, call in waiting:
                answers[place] = await self._send(call)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._concurrency, len(calls))):
                    group.create_task(work())
        except BaseExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
        return [answers[place] for place in range(len(calls))]

    async def _send(self, call: Call) -> Answer:
        async with self._turns:
            ends = self._clock() + self._retry.deadline_s
            attempt = 1
            while True:
                outcome = await self._attempt(call, ends - self._clock())
                left_s, jitter = ends - self._clock(), self._jitter()
                delay = plan_retry(
                    call, outcome, attempt, retry=self._retry, left_s=left_s, jitter=jitter
                )
                if delay is None:
                    return require(call, outcome, attempt)
                await self._sleep(delay)
                attempt += 1

    async def _attempt(self, call: Call, left_s: float) -> Answer | Lost:
        timeout = phase_timeouts(self._timeout_s, left_s)
        return await send_once_async(self._http, call, timeout)
