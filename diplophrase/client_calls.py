"""What a client asks, and how long it waits before it asks again; no network in here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from diplophrase.bundle import VERSION_NAME
from diplophrase.classifier import check_texts
from diplophrase.errors import InvalidRequest, SettingsError


@dataclass(frozen=True, slots=True)
class Call:
    """One request; `start` is the place of its first text in the caller's list, if cut.

    One that does harm if it is done twice is `unrepeated`, unless the service refused it.
    """

    method: Literal["GET", "POST", "DELETE"]
    url: str
    payload: dict[str, Any] | None = None
    start: int | None = None
    once: str | None = None  # an idempotency key
    unrepeated: bool = False  # not sent again after a broken connection

    def headers(self) -> dict[str, str]:
        """Return the headers that go with the body."""
        if self.payload is None:
            return {}
        once = {} if self.once is None else {"Idempotency-Key": self.once}
        return {"Content-Type": "application/json", **once}

    def body(self) -> bytes | None:
        """Return the JSON in UTF-8.

        Raises:
            InvalidRequest: if a string holds half of a surrogate pair.
        """
        if self.payload is None:
            return None
        try:
            return json.dumps(self.payload, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                f"The request holds {error.object[error.start]!r}, half of a surrogate pair, which "
                f"no UTF-8 has. Decode the text anew from its source."
            ) from None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, in `attempts` altogether, and how long a request is tried.

    Full jitter over an exponential ceiling: the wait before attempt n + 1 is drawn evenly from 0
    to min(`longest_s`, `first_s` * 2^(n - 1)) seconds (M. Brooker, "Exponential Backoff And
    Jitter", AWS Architecture Blog, 2015). `deadline_s` seconds bound one request from its first
    attempt to its answer, waits included.
    """

    attempts: int = 6
    first_s: float = 0.5
    longest_s: float = 20.0
    deadline_s: float = 120.0

    def __post_init__(self) -> None:
        check_positive(
            attempts=self.attempts,
            first_s=self.first_s,
            longest_s=self.longest_s,
            deadline_s=self.deadline_s,
        )


def check_positive(**values: float) -> None:
    """Refuse settings that are not above 0.

    Raises:
        SettingsError: naming each of them.
    """
    faults = [f"{name}: found {value}" for name, value in values.items() if not value > 0]
    if faults:
        raise SettingsError(f"{'; '.join(faults)}; must be above 0.")


def check_base_url(base_url: str) -> str:
    """Return `base_url` without a slash at its end.

    Raises:
        SettingsError: if it is no http(s) address of a host and, where needed, a path.
    """
    rule = "must be like http://127.0.0.1:8000 or https://host/path"
    try:
        parts = urlsplit(base_url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise SettingsError(f"base_url: found {base_url!r}; {rule}.")
    if parts.username is not None or parts.query or parts.fragment:
        raise SettingsError(f"base_url: found a user, a query or a fragment in it; {rule}.")
    return base_url.rstrip("/")


def request_headers(api_key: str | None, version: str) -> dict[str, str]:
    """Return the headers of every request.

    Raises:
        SettingsError: if the key is empty or holds a blank, a line end or other than ASCII.
    """
    headers = {"Accept": "application/json", "User-Agent": f"diplophrase/{version}"}
    if api_key is None:
        return headers
    if not api_key or not all("!" <= character <= "~" for character in api_key):
        raise SettingsError(
            f"api_key: found {len(api_key)} characters, of which some do not print; must be one "
            f"or more visible ASCII characters. Strip the line end if it was read from a file."
        )
    return {**headers, "Authorization": f"Bearer {api_key}"}


def plan_classify(
    base_url: str,
    texts: Iterable[str],
    *,
    batch_size: int,
    evidence: bool,
    scores: bool,
    precision: float | None = None,
) -> list[Call]:
    """Cut `texts` into calls of `batch_size` or fewer, in order; no texts make no calls.

    Raises:
        InvalidRequest: naming every text that is not a string, is blank or is not Unicode.
    """
    if isinstance(texts, str):
        raise InvalidRequest("texts: found a string; must be a list of strings. Put it in [ ].")
    rows = list(texts)
    check_texts(rows)
    options = {"evidence": evidence, "scores": scores, **_asked(precision)}
    cut = len(rows) > batch_size
    return [
        Call(
            "POST",
            f"{base_url}/v1/classify",
            {"texts": rows[start : start + batch_size], **options},
            start if cut else None,
        )
        for start in range(0, len(rows), batch_size)
    ]


def plan_statement(
    base_url: str,
    text: str,
    *,
    id: str | None,  # noqa: A002 - the name it has in the request
    evidence: bool,
    precision: float | None = None,
) -> Call:
    """Return the call that labels a whole statement."""
    payload = {"text": text, "evidence": evidence, **_asked(precision)}
    return Call(
        "POST", f"{base_url}/v1/statements", payload if id is None else {**payload, "id": id}
    )


def _asked(precision: float | None) -> dict[str, float]:
    return {} if precision is None else {"precision": precision}


def plan_promote(base_url: str, version: str, force: str | None = None) -> Call:
    """Return the call that makes `version` the one that answers, if need be by force.

    Raises:
        InvalidRequest: if `version` cannot be the name of one.
    """
    if not re.fullmatch(VERSION_NAME, version):
        raise InvalidRequest(
            f"version: found {version[:100]!r}; must be a name that `models()` gives."
        )
    payload = None if force is None else {"force": force}
    return Call("POST", f"{base_url}/v1/models/{version}/promote", payload)


def delay_before_retry(attempt: int, *, retry: Retry, asked_s: float, jitter: float) -> float:
    """Return the seconds between attempt number `attempt`, from 1, and the next.

    Never less than the service asks for (`asked_s`); what `jitter` in [0, 1) draws comes on top,
    so that clients that were sent away together do not come back together.
    """
    ceiling = min(retry.longest_s, retry.first_s * 2.0 ** min(attempt - 1, 60))
    return asked_s + jitter * ceiling
