"""Clients of the service for Python programs: `Client`, and `AsyncClient` for asyncio.

with Client("http://127.0.0.1:8000") as client:
    for result in client.classify(["Both sides agreed to deepen mutual trust."]):
        print([hit.id for hit in result.labels])
"""

from __future__ import annotations

from diplophrase.client_answers import ServiceError
from diplophrase.client_async import AsyncClient
from diplophrase.client_calls import Retry
from diplophrase.client_jobs import JobProgress, JobResult
from diplophrase.client_labels import AddedResult, AnnotationsPage, ReviewResult
from diplophrase.client_results import (
    ClassifyResult,
    LabelInfo,
    LabelsResult,
    LabelSummary,
    ModelInfo,
    ModelsResult,
    PromoteResult,
    SentenceResult,
    StatementResult,
)
from diplophrase.client_sync import Client

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
