"""The client that waits for each answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
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
from diplophrase.client_jobs import OperationCalls
from diplophrase.client_labels import LabelCalls
from diplophrase.client_network import (
    DEFAULT_RETRY,
    DEFAULT_URL,
    open_http,
    phase_timeouts,
    send_once,
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
        self._http = open_http(api_key, transport)

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
        return send_once(self._http, call, timeout)
