"""Clients of the service for Python programs: `Client`, and `AsyncClient` for asyncio.

with Client("http://127.0.0.1:8000") as client:
    for result in client.classify(["Both sides agreed to deepen mutual trust."]):
        print([hit.id for hit in result.labels])
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType

from diplophrase import __version__
from diplophrase.client_answers import (
    Answer,
    ClassifyResult,
    LabelInfo,
    LabelsResult,
    LabelSummary,
    Lost,
    ModelInfo,
    ModelsResult,
    PromoteResult,
    SentenceResult,
    ServiceError,
    StatementResult,
    plan_retry,
    read_classify,
    read_labels,
    read_ready,
    read_statement,
    require,
)
from diplophrase.client_calls import (
    Call,
    Retry,
    check_base_url,
    check_positive,
    plan_classify,
    plan_statement,
    request_headers,
)
from diplophrase.client_jobs import (
    AsyncOperationCalls,
    JobProgress,
    JobResult,
    OperationCalls,
)
from diplophrase.client_labels import (
    AddedResult,
    AnnotationsPage,
    AsyncLabelCalls,
    LabelCalls,
    ReviewResult,
)
from diplophrase.errors import MissingExtra

try:
    import httpx
except ModuleNotFoundError:
    raise MissingExtra("diplophrase.client", "client", "httpx") from None

__all__ = [
    "AddedResult",
    "AnnotationsPage",
    "AsyncClient",
    "ClassifyResult",
    "Client",
    "JobProgress",
    "JobResult",
    "LabelInfo",
    "LabelSummary",
    "LabelsResult",
    "ModelInfo",
    "ModelsResult",
    "PromoteResult",
    "Retry",
    "ReviewResult",
    "SentenceResult",
    "ServiceError",
    "StatementResult",
]

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_RETRY = Retry()
CONNECT_TIMEOUT_S = 10.0
_LEAST_TIMEOUT_S = 0.001  # a wait may end a little after the deadline

# what a new connection may mend; a request asks, promotes, queues or takes back, where twice does
# no harm, or it adds annotations under a key that makes it count once
_TRANSIENT = (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError)


def phase_timeouts(timeout_s: float, left_s: float) -> httpx.Timeout:
    """Return how many seconds each phase of an attempt may take, with `left_s` to the deadline."""
    seconds = max(_LEAST_TIMEOUT_S, min(timeout_s, left_s))
    return httpx.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT_S))


def answer_of(response: httpx.Response) -> Answer:
    """Return what matters of a response."""
    headers = response.headers
    return Answer(
        response.status_code,
        response.content,
        content_type=headers.get("Content-Type", ""),
        retry_after=headers.get("Retry-After", ""),
    )


def loss_of(error: httpx.RequestError) -> Lost:
    """Return why there is no answer; an answer that takes too long is not asked for again."""
    reason = str(error) or type(error).__name__
    if isinstance(error, _TRANSIENT):
        advice = "Is the service running? `diplophrase serve` starts one."
        return Lost("unreachable", f"no connection, or it broke ({reason}). {advice}", True)
    if isinstance(error, httpx.TimeoutException):
        advice = "Give timeout_s more seconds, or a batch fewer texts."
        return Lost("deadline", f"no answer in time ({reason}). {advice}", False)
    return Lost("unreachable", f"the request failed ({reason}).", False)


class Client(LabelCalls, OperationCalls):
    """Asks the service, one request at a time. May be used from several threads.

    Args:
        base_url: where the service listens, with the path before `/v1` if there is one.
        api_key: sent as `Authorization: Bearer ...`, for services that ask for one.
        batch_size: texts per request; the service's `max_texts` bounds it.
        timeout_s: seconds that each phase of an attempt (write, each read) may take, or less
            where less is left to the deadline.
        retry: how often and how long a request is tried again.
        transport: how httpx reaches the network, for certificates of your own and for tests.
        sleep: waits a number of seconds.
        jitter: draws a number from [0, 1) after each attempt.
        clock: gives seconds that never run backwards.

    Raises:
        SettingsError: if the address, the key or a number cannot be used.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        *,
        api_key: str | None = None,
        batch_size: int = 64,
        timeout_s: float = 60.0,
        retry: Retry = DEFAULT_RETRY,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        jitter: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_positive(batch_size=batch_size, timeout_s=timeout_s)
        self._base_url = check_base_url(base_url)
        self._batch_size = batch_size
        self._timeout_s = timeout_s
        self._retry = retry
        self._sleep, self._jitter, self._clock = sleep, jitter, clock
        headers = request_headers(api_key, __version__)
        self._http = httpx.Client(headers=headers, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used any more."""
        self._http.close()

    def classify(
        self,
        texts: Iterable[str],
        *,
        evidence: bool = True,
        scores: bool = False,
        precision: float | None = None,
    ) -> ClassifyResult:
        """Return one result for each text, in order; no texts give an empty result.

        Without `scores`, each result's `scores` is empty. With `precision`, only labels are given
        of which that share is right.

        Raises:
            InvalidRequest: before anything is sent, naming each text that cannot be read.
            ServiceError: if a request fails; `details` count in `texts`.
        """
        calls = plan_classify(
            self._base_url,
            texts,
            batch_size=self._batch_size,
            evidence=evidence,
            scores=scores,
            precision=precision,
        )
        return read_classify(calls, [self._send(call) for call in calls])

    def classify_statement(
        self,
        text: str,
        *,
        id: str | None = None,  # noqa: A002 - the name it has in the answer
        evidence: bool = True,
        precision: float | None = None,
    ) -> StatementResult:
        """Return the sentences of a statement, labelled, and the whole summed up.

        Raises:
            ServiceError: if the request fails.
        """
        call = plan_statement(self._base_url, text, id=id, evidence=evidence, precision=precision)
        return read_statement(call, self._send(call))

    def labels(self) -> LabelsResult:
        """Return the labels that the service's model knows.

        Raises:
            ServiceError: if the request fails.
        """
        call = Call("GET", f"{self._base_url}/v1/labels")
        return read_labels(call, self._send(call))

    def ready(self) -> bool:
        """Tell at once, with one attempt, whether the service takes requests.

        Raises:
            ServiceError: if what answers is not the service, or refuses.
        """
        call = Call("GET", f"{self._base_url}/readyz")
        return read_ready(call, self._attempt(call, self._retry.deadline_s))

    def _send(self, call: Call) -> Answer:
        ends = self._clock() + self._retry.deadline_s
        attempt = 1
        while True:
            outcome = self._attempt(call, ends - self._clock())
            left_s, jitter = ends - self._clock(), self._jitter()
            delay = plan_retry(
                call, outcome, attempt, retry=self._retry, left_s=left_s, jitter=jitter
            )
            if delay is None:
                return require(call, outcome, attempt)
            self._sleep(delay)
            attempt += 1

    def _attempt(self, call: Call, left_s: float) -> Answer | Lost:
        timeout = phase_timeouts(self._timeout_s, left_s)
        body, headers = call.body(), call.headers()
        try:
            return answer_of(
                self._http.request(
                    call.method, call.url, content=body, headers=headers, timeout=timeout
                )
            )
        except httpx.RequestError as error:
            return loss_of(error)


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
        headers = request_headers(api_key, __version__)
        # the semaphore bounds what is in flight, so that nothing waits for httpx's pool
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency)
        self._http = httpx.AsyncClient(headers=headers, transport=transport, limits=limits)

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
        body, headers = call.body(), call.headers()
        try:
            async with asyncio.timeout(timeout.read):
                return answer_of(
                    await self._http.request(
                        call.method, call.url, content=body, headers=headers, timeout=timeout
                    )
                )
        except httpx.RequestError as error:
            return loss_of(error)
        except TimeoutError:  # all phases together
            return loss_of(httpx.ReadTimeout(""))
