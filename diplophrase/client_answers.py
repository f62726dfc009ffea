"""What comes back to a client: results, errors, and whether to ask again; no network in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.classifier import Evidence, LabelHit, Result
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


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """One result for each text, in order; it has a length, can be indexed and iterated over."""

    results: tuple[Result, ...]

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Result:
        return self.results[index]

    @property
    def model_versions(self) -> tuple[str, ...]:
        """The models that answered, in order; more than one if the model was swapped meanwhile."""
        return tuple(dict.fromkeys(result.model_version for result in self.results))


@dataclass(frozen=True, slots=True)
class SentenceResult:
    """A sentence: `text` is `statement[start:end]` in code points; evidence counts in `text`."""

    start: int
    end: int
    text: str
    result: Result


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """In which sentences (by index) a label occurs, how many they are, and its highest score."""

    sentences: list[int]
    count: int
    max_score: float


@dataclass(frozen=True, slots=True)
class StatementResult:
    """A statement cut into sentences, and the whole summed up by label."""

    id: str | None
    model_version: str
    sentences: tuple[SentenceResult, ...]
    summary: dict[str, LabelSummary]


@dataclass(frozen=True, slots=True)
class LabelInfo:
    """A label of the codebook, with the score from which the model gives it."""

    id: str
    name: str
    definition: str
    threshold: float


@dataclass(frozen=True, slots=True)
class LabelsResult:
    """The labels that the model of the service knows, in their fixed order."""

    model_version: str
    codebook_version: str
    labels: tuple[LabelInfo, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A version of the model: `state` is "whole", or "broken" for a `reason`.

    `metrics` are its main figures, from 0 to 1; `current` is the one that starts with the service,
    `serving` the one that answers now.
    """

    version: str
    state: str
    reason: str | None
    created: str | None
    metrics: dict[str, float]
    current: bool
    serving: bool


@dataclass(frozen=True, slots=True)
class ModelsResult:
    """The versions there are; `refused` says why the current one does not serve, if so."""

    serving: str
    current: str | None
    refused: str | None
    versions: tuple[ModelInfo, ...]


@dataclass(frozen=True, slots=True)
class PromoteResult:
    """The version that serves from now on, and the one that did before.

    `verdict` is the gate's: pass, fail (the version was forced, in spite of the `reasons`) or not
    compared.
    """

    model_version: str
    previous: str
    verdict: str = ""
    reasons: tuple[str, ...] = ()


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


def read_classify(calls: Sequence[Call], answers: Sequence[Answer]) -> ClassifyResult:
    """Join the answers to the calls of one list of texts.

    Raises:
        ServiceError: `bad_answer`, if one cannot be read or has not one result for each text.
    """
    results: list[Result] = []
    for call, answer in zip(calls, answers, strict=True):
        rows = read_as(_Classified, call, answer).results
        if call.payload is None or len(rows) != len(call.payload["texts"]):
            raise bad_answer(call, answer)
        results.extend(row.typed() for row in rows)
    return ClassifyResult(tuple(results))


def read_statement(call: Call, answer: Answer) -> StatementResult:
    """Return what the service says of a statement.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    found = read_as(_Statement, call, answer)
    sentences = tuple(
        SentenceResult(row.start, row.end, row.text, row.typed()) for row in found.sentences
    )
    return StatementResult(found.id, found.model_version, sentences, found.summary)


def read_labels(call: Call, answer: Answer) -> LabelsResult:
    """Return the labels that the service knows.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    found = read_as(_Labels, call, answer)
    return LabelsResult(found.model_version, found.codebook_version, tuple(found.labels))


def read_models(call: Call, answer: Answer) -> ModelsResult:
    """Return the versions that the service has.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    found = read_as(_Models, call, answer)
    return ModelsResult(found.serving, found.current, found.refused, tuple(found.versions))


def read_promote(call: Call, answer: Answer) -> PromoteResult:
    """Return what serves after a promotion.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    found = read_as(_Promoted, call, answer)
    reasons = tuple(found.reasons)
    return PromoteResult(found.model_version, found.previous, found.verdict, reasons)


def read_ready(call: Call, outcome: Answer | Lost) -> bool:
    """Tell whether the service takes requests; no answer and status 503 mean no.

    Raises:
        ServiceError: for every other answer, such as a refused key or another service's page.
    """
    if isinstance(outcome, Lost) or outcome.status == 503:
        return False
    return read_as(_Ready, call, require(call, outcome, 1)).status == "ready"


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


class _Hit(Wire):
    model_config = ConfigDict(extra="allow")  # attributes stand beside the label's own fields

    id: str
    score: float
    evidence: Evidence | None = None

    def typed(self) -> LabelHit:
        rest = (self.model_extra or {}).items()
        attributes = {name: value for name, value in rest if isinstance(value, str | list)}
        return LabelHit(self.id, self.score, self.evidence, attributes)


class _Result(Wire):
    labels: list[_Hit]
    speaker: str
    model_version: str
    truncated: bool
    out_of_domain: bool
    scores: dict[str, float] | None = None

    def typed(self) -> Result:
        return Result(
            labels=[hit.typed() for hit in self.labels],
            speaker=self.speaker,
            model_version=self.model_version,
            scores=self.scores or {},
            truncated=self.truncated,
            out_of_domain=self.out_of_domain,
        )


class _Sentence(_Result):
    start: int
    end: int
    text: str


class _Classified(Wire):
    results: list[_Result]


class _Statement(Wire):
    id: str | None
    model_version: str
    sentences: list[_Sentence]
    summary: dict[str, LabelSummary]


class _Labels(Wire):
    model_version: str
    codebook_version: str
    labels: list[LabelInfo]


class _Models(Wire):
    serving: str
    current: str | None
    refused: str | None
    versions: list[ModelInfo]


class _Promoted(Wire):
    model_version: str
    previous: str
    verdict: str = ""
    reasons: list[str] = Field(default_factory=list)


class _Ready(Wire):
    status: str
