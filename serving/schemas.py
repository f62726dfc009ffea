"""What requests and answers look like; `/docs` is made from these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from diplophrase.bundle import PRECISIONS, VERSION_NAME
from diplophrase.codebook import LABEL_ID
from diplophrase.settings import MOST_TEXTS
from serving.jobs.state import State

_MOST_FIELDS = 100
_PRECISION = "give only labels of which this share is right; without it, precision and recall alike"


class Request(BaseModel):
    """A body of known fields. It is refused as a whole where naming each fault would take long."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, body: object) -> object:
        if isinstance(body, dict) and len(body) > _MOST_FIELDS:
            rule = f"must hold {_MOST_FIELDS} fields at most"
            raise PydanticCustomError("too_many_fields", "{rule}", {"rule": rule})
        return body


class ClassifyRequest(Request):
    """Texts to label: a sentence each."""

    texts: Annotated[
        list[str],
        Field(min_length=1, max_length=MOST_TEXTS, description="sentences, one result for each"),
    ]
    evidence: bool = Field(True, description="give the words that earned each label")
    scores: bool = Field(False, description="give the calibrated scores of all labels")
    precision: float | None = Field(
        None, gt=0, le=PRECISIONS[-1], strict=False, description=_PRECISION
    )


class StatementRequest(Request):
    """A whole statement, split into sentences by the service."""

    text: str = Field(description="the statement")
    id: str | None = Field(None, max_length=200, description="given back in the answer")
    evidence: bool = Field(True, description="give the words that earned each label")
    precision: float | None = Field(
        None, gt=0, le=PRECISIONS[-1], strict=False, description=_PRECISION
    )


class TrainOptions(Request):
    """What a training may be told; what is left out is as `diplophrase train` has it."""

    fast: bool = Field(False, description="train the heads alone, in a minute or two")
    folds: int | None = Field(None, ge=0, le=20, description="0: no figures, no calibration")
    seed: int | None = Field(None, ge=0, le=2**31 - 1, description="seed of the whole run")
    epochs: int | None = Field(
        None, ge=1, le=1_000, description="passes over the authored sentences"
    )
    name: str | None = Field(None, pattern=VERSION_NAME, description="name of the new version")


class TrainRequest(Request):
    """Train a version from the hand labels; it stands beside the others until it is promoted."""

    kind: Literal["train"]
    options: TrainOptions = TrainOptions.model_validate({})


ArchiveName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1_000,
        pattern=r"^[^\x00]+$",
        description="a name in the folder of the setting `archives`",
    ),
]
Column = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
LabelId = Annotated[str, Field(max_length=100, pattern=LABEL_ID)]


class ScoreOptions(Request):
    """What a scoring may be told; what is left out is as `diplophrase score` has it."""

    inputs: Annotated[
        list[ArchiveName],
        Field(min_length=1, max_length=100, description="files, folders of documents, globs"),
    ]
    output: ArchiveName
    text_column: Column | None = Field(None, description="column of texts; else `text`")
    id_column: Column | None = Field(None, description="column that names documents")
    documents: bool = Field(False, description="split texts; a row for each sentence")
    summary: ArchiveName | None = None
    labels: Annotated[list[LabelId], Field(min_length=1, max_length=1_000)] | None = Field(
        None, description="only these labels"
    )
    min_score: float | None = Field(
        None, ge=0, le=1, strict=False, description="leave out labels below this"
    )
    limit: int | None = Field(None, ge=1, le=2**53, description="read only so many rows")
    format: Literal["jsonl", "csv", "parquet"] | None = Field(
        None, description="of the output, if its name does not say"
    )
    input_format: Literal["csv", "tsv", "jsonl", "parquet", "text", "document"] | None = Field(
        None, description="of the inputs, if their names do not say"
    )
    max_characters: int | None = Field(
        None, ge=1, le=1_000_000, description="longer texts are bad rows"
    )
    part_rows: int | None = Field(None, ge=1, le=100_000, description="rows in a part")
    strict: bool = Field(False, description="stop at the first bad row")
    restart: bool = Field(False, description="throw away what is there and begin anew")
    workers: int = Field(
        1, ge=1, le=64, description="batches at once; one leaves the service its processors"
    )


class ScoreRequest(Request):
    """Score archives in the folder that the setting `archives` names."""

    kind: Literal["score"]
    options: ScoreOptions


JobRequest = Annotated[TrainRequest | ScoreRequest, Field(discriminator="kind")]


class EvidenceOut(BaseModel):
    """The words that earned a label: offsets count Unicode code points of the text."""

    start: int
    end: int
    text: str


class LabelOut(BaseModel):
    """A label given, with its calibrated probability."""

    id: str
    score: float
    evidence: EvidenceOut | None = None
    tier: str | None = None
    taiwan_formula: list[str] | None = None


class ResultOut(BaseModel):
    """What the model says of one text.

    `truncated` if it was too long to be read to its end; `out_of_domain` if it is unlike anything
    that the model was made for, and then without labels.
    """

    labels: list[LabelOut]
    speaker: str
    model_version: str
    truncated: bool
    out_of_domain: bool
    scores: dict[str, float] | None = None


class ClassifyResponse(BaseModel):
    """One result for each text, in order."""

    model_version: str
    results: list[ResultOut]


class SentenceOut(ResultOut):
    """A sentence of a statement: `text` is `statement[start:end]` in code points."""

    start: int
    end: int
    text: str


class LabelSummary(BaseModel):
    """How often a label occurs in a statement, how surely, and in which sentences."""

    sentences: list[int]
    count: int
    max_score: float


class StatementResponse(BaseModel):
    """The sentences of a statement with their labels, and the whole summed up by label."""

    id: str | None
    model_version: str
    sentences: list[SentenceOut]
    summary: dict[str, LabelSummary]


class LabelInfo(BaseModel):
    """A label of the codebook, with the score from which this model gives it."""

    id: str
    name: str
    definition: str
    threshold: float


class LabelsResponse(BaseModel):
    """The labels that this model knows, in their fixed order."""

    model_version: str
    codebook_version: str
    labels: list[LabelInfo]


class ModelInfo(BaseModel):
    """A version on disk: `whole`, or `broken` for a reason; figures are from 0 to 1."""

    version: str
    state: Literal["whole", "broken"]
    reason: str | None
    created: str | None
    metrics: dict[str, float]
    current: bool
    serving: bool


class ModelsResponse(BaseModel):
    """The version that serves here, the one that CURRENT names, why that was refused, and all."""

    serving: str
    current: str | None
    refused: str | None
    versions: list[ModelInfo]


class PromoteRequest(Request):
    """How a version is promoted."""

    force: str | None = Field(
        None,
        min_length=1,
        max_length=1_000,
        pattern=r"\S",
        description="promote even a version that is worse, for this reason, which is recorded",
    )


class PromoteResponse(BaseModel):
    """The version that serves from now on, and the one that did before.

    `reasons` say what the gate found against a version that was forced.
    """

    model_version: str
    previous: str
    verdict: Literal["pass", "fail", "not compared"]
    reasons: list[str]


class JobProgress(BaseModel):
    """How far a job is: the share of the whole, from 0 to 1, and the steps of its stage."""

    model_config = ConfigDict(extra="allow")

    fraction: float
    stage: str
    step: int
    of: int


class JobOut(BaseModel):
    """A job; `result` is there once it is done, `error` if it failed or was lost.

    A training's result names the `model_version`, which is promoted by nobody but you; a scoring's
    is the `output` and its counts.
    """

    id: str
    kind: str
    options: dict[str, Any]
    state: State
    by: str
    created: datetime
    ended: datetime | None
    exit_code: int | None
    error: str | None
    progress: JobProgress | None
    result: dict[str, Any] | None


class JobsResponse(BaseModel):
    """The jobs that are kept, the newest first."""

    jobs: list[JobOut]


class ErrorDetail(BaseModel):
    """One fault of a request."""

    field: str
    index: int | None
    found: str
    rule: str


class ErrorBody(BaseModel):
    """What went wrong: a kind for programs, a message for people, every fault."""

    kind: str
    message: str
    details: list[ErrorDetail]


class ErrorResponse(BaseModel):
    """The one body of every failed request."""

    error: ErrorBody
