"""How the clients reach the network, by httpx; the one place that knows its errors."""

from __future__ import annotations

import asyncio

from diplophrase import __version__
from diplophrase.client_answers import Answer, Lost
from diplophrase.client_calls import Call, Retry, request_headers
from diplophrase.errors import MissingExtra

try:
    import httpx
except ModuleNotFoundError:
    raise MissingExtra("diplophrase.client", "client", "httpx") from None

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


def open_http(api_key: str | None, transport: httpx.BaseTransport | None) -> httpx.Client:
    """Return what sends requests with the key.

    Raises:
        SettingsError: if the key cannot be used.
    """
    return httpx.Client(headers=request_headers(api_key, __version__), transport=transport)


def open_async_http(
    api_key: str | None, transport: httpx.AsyncBaseTransport | None, concurrency: int
) -> httpx.AsyncClient:
    """Return the same for asyncio, where the caller bounds what is in flight to `concurrency`.

    Nothing then waits for a place among httpx's connections.

    Raises:
        SettingsError: if the key cannot be used.
    """
    headers = request_headers(api_key, __version__)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency)
    return httpx.AsyncClient(headers=headers, transport=transport, limits=limits)


def send_once(http: httpx.Client, call: Call, timeout: httpx.Timeout) -> Answer | Lost:
    """Send a call once."""
    body, headers = call.body(), call.headers()
    try:
        return answer_of(
            http.request(call.method, call.url, content=body, headers=headers, timeout=timeout)
        )
    except httpx.RequestError as error:
        return loss_of(error)


async def send_once_async(
    http: httpx.AsyncClient, call: Call, timeout: httpx.Timeout
) -> Answer | Lost:
    """Send a call once; its phases together take no longer than each of them may."""
    body, headers = call.body(), call.headers()
    try:
        async with asyncio.timeout(timeout.read):
            return answer_of(
                await http.request(
                    call.method, call.url, content=body, headers=headers, timeout=timeout
                )
            )
    except httpx.RequestError as error:
        return loss_of(error)
    except TimeoutError:
        return loss_of(httpx.ReadTimeout(""))
