"""What the service says of texts, labels and versions, as typed results; no network in here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict, Field

from diplophrase.classifier import Evidence, LabelHit, Result
from diplophrase.client_answers import Answer, Lost, Wire, bad_answer, read_as, require
from diplophrase.client_calls import Call


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
