"""The clients' calls that change what answers: versions and jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict

from diplophrase.client_answers import Answer, read_as
from diplophrase.client_calls import Call, plan_promote
from diplophrase.client_results import ModelsResult, PromoteResult, read_models, read_promote


class JobProgress(BaseModel):
    """How far a job is: the share of the whole, from 0 to 1, and the steps of its stage."""

    model_config = ConfigDict(frozen=True)

    fraction: float
    stage: str
    step: int
    of: int


class JobResult(BaseModel):
    """A job as the service sees it now.

    A training's `result` names the `model_version`, a scoring's the `output` and its counts.
    `state` is running, cancelling, done, failed, cancelled or lost; `error` says why it failed.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    kind: str
    options: dict[str, Any]
    state: str
    by: str
    created: datetime
    ended: datetime | None = None
    exit_code: int | None = None
    error: str | None = None
    progress: JobProgress | None = None
    result: dict[str, Any] | None = None


class _Jobs(BaseModel):
    jobs: list[JobResult]


def read_job(call: Call, answer: Answer) -> JobResult:
    """Return a job.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    return read_as(JobResult, call, answer)


def read_jobs(call: Call, answer: Answer) -> list[JobResult]:
    """Return all jobs, the newest first.

    Raises:
        ServiceError: `bad_answer`, if the answer cannot be read.
    """
    return read_as(_Jobs, call, answer).jobs


def plan_start(base_url: str, kind: str, options: dict[str, Any]) -> Call:
    """Return the call that starts a job."""
    return Call("POST", f"{base_url}/v1/jobs", {"kind": kind, "options": options}, unrepeated=True)


def plan_rollback(base_url: str) -> Call:
    """Return the call that goes back one version."""
    return Call("POST", f"{base_url}/v1/models/rollback", unrepeated=True)


def plan_job(
    base_url: str, job_id: str, *, log: bool = False, method: Literal["GET", "DELETE"] = "GET"
) -> Call:
    """Return a call that concerns one job."""
    return Call(method, f"{base_url}/v1/jobs/{quote(job_id, safe='')}{'/log' if log else ''}")


class OperationCalls(ABC):
    """Versions and jobs, for `Client`."""

    _base_url: str

    @abstractmethod
    def _send(self, call: Call) -> Answer: ...

    def models(self) -> ModelsResult:
        """Return the versions of the model that the service has.

        Raises:
            ServiceError: if the request fails.
        """
        call = Call("GET", f"{self._base_url}/v1/models")
        return read_models(call, self._send(call))

    def promote(self, version: str, *, force: str | None = None) -> PromoteResult:
        """Make a version the one that answers; needs `api_key`.

        The service compares it with the one that answers first, which takes some seconds. `force`
        promotes one that is worse, for that reason.

        Raises:
            InvalidRequest: before anything is sent, if `version` cannot be the name of one.
            ServiceError: if the request fails: `not_found`, `bundle_refused` if the version is
                not whole, `gate_refused` with every reason if it is worse; the old one serves on.
        """
        call = plan_promote(self._base_url, version, force)
        return read_promote(call, self._send(call))

    def rollback(self) -> PromoteResult:
        """Go back to the version that answered before; needs `api_key`. Twice goes back two.

        It is not tried again if the connection breaks: look at `models()` then.

        Raises:
            ServiceError: if the request fails: `conflict` if there is none.
        """
        call = plan_rollback(self._base_url)
        return read_promote(call, self._send(call))

    def start_job(self, kind: str, **options: Any) -> JobResult:
        """Start a job, such as `start_job("train", fast=True)`; needs `api_key`.

        `start_job("score", inputs=["a.csv"], output="a.parquet")` scores archives of the service's
        folder; docs/models.md and docs/archives.md have the options.

        It is not tried again if the connection breaks: look at `jobs()` then.

        Raises:
            ServiceError: if the request fails: `conflict`, naming it, if a job runs.
        """
        call = plan_start(self._base_url, kind, options)
        return read_job(call, self._send(call))

    def jobs(self) -> list[JobResult]:
        """Return the jobs that the service keeps, the newest first.

        Raises:
            ServiceError: if the request fails.
        """
        call = Call("GET", f"{self._base_url}/v1/jobs")
        return read_jobs(call, self._send(call))

    def job(self, job_id: str) -> JobResult:
        """Return a job as it is now.

        Raises:
            ServiceError: if the request fails: `not_found` if there is none of this id.
        """
        call = plan_job(self._base_url, job_id)
        return read_job(call, self._send(call))

    def job_log(self, job_id: str) -> str:
        """Return the end of what a job said.

        Raises:
            ServiceError: as `job`.
        """
        answer = self._send(plan_job(self._base_url, job_id, log=True))
        return answer.content.decode(errors="replace")

    def cancel_job(self, job_id: str) -> JobResult:
        """Have a job end, and return it as it is now; needs `api_key`.

        Raises:
            ServiceError: as `job`.
        """
        call = plan_job(self._base_url, job_id, method="DELETE")
        return read_job(call, self._send(call))


class AsyncOperationCalls(ABC):
    """Versions and jobs, for `AsyncClient`; see `OperationCalls`."""

    _base_url: str

    @abstractmethod
    async def _send(self, call: Call) -> Answer: ...

    async def models(self) -> ModelsResult:
        """Return the versions of the model that the service has; see `Client.models`."""
        call = Call("GET", f"{self._base_url}/v1/models")
        return read_models(call, await self._send(call))

    async def promote(self, version: str, *, force: str | None = None) -> PromoteResult:
        """Make a version the one that answers; see `Client.promote`."""
        call = plan_promote(self._base_url, version, force)
        return read_promote(call, await self._send(call))

    async def rollback(self) -> PromoteResult:
        """Go back to the version that answered before; see `Client.rollback`."""
        call = plan_rollback(self._base_url)
        return read_promote(call, await self._send(call))

    async def start_job(self, kind: str, **options: Any) -> JobResult:
        """Start a job; see `Client.start_job`."""
        call = plan_start(self._base_url, kind, options)
        return read_job(call, await self._send(call))

    async def jobs(self) -> list[JobResult]:
        """Return the jobs that the service keeps; see `Client.jobs`."""
        call = Call("GET", f"{self._base_url}/v1/jobs")
        return read_jobs(call, await self._send(call))

    async def job(self, job_id: str) -> JobResult:
        """Return a job as it is now; see `Client.job`."""
        call = plan_job(self._base_url, job_id)
        return read_job(call, await self._send(call))

    async def job_log(self, job_id: str) -> str:
        """Return the end of what a job said; see `Client.job_log`."""
        answer = await self._send(plan_job(self._base_url, job_id, log=True))
        return answer.content.decode(errors="replace")

    async def cancel_job(self, job_id: str) -> JobResult:
        """Have a job end; see `Client.cancel_job`."""
        call = plan_job(self._base_url, job_id, method="DELETE")
        return read_job(call, await self._send(call))
