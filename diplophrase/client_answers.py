"""What comes back to a client: an answer or none, errors, and whether to ask again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.client_calls import Call, Retry, delay_before_retry
from diplophrase.errors import KINDS, Detail, DiplophraseError

TRANSIENT = frozenset({429, 503})  # overloaded; not ready, or stopping behind a balancer
_EXIT_CODES = {"unreachable": 9}  # as `overloaded`: try again later
_SHOWN_BYTES = 60  # of an answer that cannot be read

M = TypeVar("M", bound=BaseModel)


class ServiceError(DiplophraseError):
    """A request that failed: the service's error, or why there is none.

    `status` is the HTTP status of the last answer, 0 if there was none. Besides the service's
    kinds there are `unreachable` (no connection, or it broke), `deadline` (no answer in time) and
    `bad_answer` (the answer is not the service's).
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "internal",
        status: int = 0,
        details: list[Detail] | None = None,
    ) -> None:
        super().__init__(message, kind=kind, details=details)
        self._status = status

    @property
    def status(self) -> int:
        return self._status

    @property
    def exit_code(self) -> int:
        return KINDS[self.kind][1] if self.kind in KINDS else _EXIT_CODES.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a call, read or not."""

    status: int
    content: bytes
    content_type: str = ""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer came: why, and whether another attempt may fare better."""

    kind: Literal["unreachable", "deadline"]
    reason: str
    transient: bool


def is_transient(outcome: Answer | Lost) -> bool:
    """Tell whether another attempt may fare better."""
    return outcome.transient if isinstance(outcome, Lost) else outcome.status in TRANSIENT


def retry_after_s(outcome: Answer | Lost) -> float:
    """Return the seconds of the Retry-After header; 0 without one, or where it is a date."""
    value = outcome.retry_after.strip() if isinstance(outcome, Answer) else ""
    return float(value) if value.isascii() and value.isdigit() else 0.0


def plan_retry(
    call: Call,
    outcome: Answer | Lost,
    attempt: int,
    *,
    retry: Retry,
    left_s: float,
    jitter: float,
) -> float | None:
    """Return the seconds to wait before the next attempt, or None if `outcome` is the last.

    Raises:
        ServiceError: `deadline`, if the wait would outlast the `left_s` seconds; its cause is the
            error of this attempt.
    """
    broken = isinstance(outcome, Lost) and call.unrepeated
    if broken or not is_transient(outcome) or attempt >= retry.attempts:
        return None
    delay = delay_before_retry(attempt, retry=retry, asked_s=retry_after_s(outcome), jitter=jitter)
    if delay < left_s:
        return delay
    last = failure_of(call, outcome, attempt)
    raise ServiceError(
        f"Attempt {attempt + 1} would start after the deadline of {retry.deadline_s:g} s. "
        f"The last failure: {last.message}",
        kind="deadline",
        status=last.status,
        details=last.details,
    ) from last


def require(call: Call, outcome: Answer | Lost, attempts: int) -> Answer:
    """Return the answer if it is a good one.

    Raises:
        ServiceError: the failure of the last of `attempts` attempts.
    """
    if isinstance(outcome, Answer) and outcome.status == 200:
        return outcome
    raise failure_of(call, outcome, attempts)


def failure_of(call: Call, outcome: Answer | Lost, attempts: int) -> ServiceError:
    """Return the error of an attempt that failed; indices count in the caller's list."""
    note = f" (The last of {attempts} attempts.)" if attempts > 1 else ""
    if isinstance(outcome, Lost):
        message = f"{call.method} {call.url}: {outcome.reason}{note}"
        return ServiceError(message, kind=outcome.kind)
    try:
        fault = _Failure.model_validate_json(outcome.content).error
    except ValidationError:
        return bad_answer(call, outcome, note)
    details = [_shifted(detail, call.start or 0) for detail in fault.details]
    if call.start is not None and call.payload is not None:
        end = call.start + len(call.payload["texts"])
        note = f" (In the request with texts[{call.start}:{end}], counted from its first.){note}"
    message = fault.message + note
    return ServiceError(message, kind=fault.kind, status=outcome.status, details=details)


def _shifted(detail: Detail, start: int) -> Detail:
    if detail.index is None or not detail.field.startswith("texts"):
        return detail
    return replace(detail, index=detail.index + start)


def bad_answer(call: Call, answer: Answer, note: str = "") -> ServiceError:
    """Return the error of an answer that the service does not give."""
    shown = answer.content[:_SHOWN_BYTES].decode(errors="replace")
    found = f"{answer.content_type or 'no content type'}, {len(answer.content)} bytes: {shown!r}"
    return ServiceError(
        f"{call.method} {call.url} gave status {answer.status} and no answer of the diplophrase "
        f"service ({found}). Check base_url, the service's version and any proxy before it.{note}",
        kind="bad_answer",
        status=answer.status,
    )


def read_as(shape: type[M], call: Call, answer: Answer) -> M:
    """Return an answer in the shape that it must have.

    Raises:
        ServiceError: `bad_answer`, if it has another.
    """
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError:
        raise bad_answer(call, answer) from None


class Wire(BaseModel):
    """A shape of JSON; fields that a newer service adds are left out."""

    model_config = ConfigDict(protected_namespaces=())  # `model_version` is a field


class _Fault(Wire):
    kind: str
    message: str
    details: list[Detail] = Field(default_factory=list)


class _Failure(Wire):
    error: _Fault
