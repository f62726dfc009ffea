"""`/v1/jobs`: start long work, see how far it is, end it."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from diplophrase.settings import Settings
from serving.jobs.board import JobBoard
from serving.jobs.scoring import check_archives
from serving.keys import KeyRecord, require_key
from serving.schemas import ErrorResponse, JobOut, JobRequest, JobsResponse

log = logging.getLogger("diplophrase.serving")

Key = Annotated[KeyRecord, Depends(require_key)]


def add_jobs(api: APIRouter, settings: Settings) -> None:
    """Add the calls; the jobs are those of the settings' folder, whichever process asks.

    Raises:
        SettingsError: if the folder of archives holds what is no archive.
    """
    check_archives(settings)
    board = JobBoard(settings)

    @api.post(
        "/jobs", response_model=JobOut, summary="Start a job", responses=_failures(401, 409, 507)
    )
    async def start(body: JobRequest, key: Key) -> JSONResponse:
        """Answer at once with the job, which runs beside the service and outlives it.

        One job runs at a time: while one does, another is refused with 409. `train` makes a version
        of the model; `score` labels archives in the folder of the setting `archives`, and goes on
        where it was if it is started again with the same options.
        """
        options = body.options.model_dump()
        job = await asyncio.to_thread(
            board.start, body.kind, options, by=f"key {key.id} {key.name}"
        )
        log.info("job %s (%s) started by the %s", job.id, job.kind, job.by)
        return JSONResponse(await asyncio.to_thread(board.details, job))

    @api.get("/jobs", response_model=JobsResponse, summary="The jobs, the newest first")
    async def list_jobs() -> JSONResponse:
        def read() -> list[dict[str, Any]]:
            return [board.details(job) for job in board.read_all()]

        return JSONResponse({"jobs": await asyncio.to_thread(read)})

    @api.get(
        "/jobs/{job_id}",
        response_model=JobOut,
        summary="A job: its state, how far it is, what came out",
        responses=_failures(404),
    )
    async def read_job(job_id: str) -> JSONResponse:
        return JSONResponse(await asyncio.to_thread(lambda: board.details(board.get(job_id))))

    @api.get(
        "/jobs/{job_id}/log",
        response_class=Response,
        summary="What a job said, the last megabyte of it",
        responses={
            **_failures(404),
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        },
    )
    async def read_log(job_id: str) -> PlainTextResponse:
        return PlainTextResponse(await asyncio.to_thread(board.log, job_id))

    @api.delete(
        "/jobs/{job_id}",
        response_model=JobOut,
        summary="End a job",
        responses=_failures(401, 404),
    )
    async def cancel(job_id: str, key: Key) -> JSONResponse:
        """Answer at once; the job is `cancelling` until it has ended, then `cancelled`.

        It is told to end, and made to after `job_grace_s` seconds. One that has ended stays as it
        is.
        """
        job = await asyncio.to_thread(board.cancel, job_id)
        log.info("job %s cancelled by the key %s", job.id, key.id)
        return JSONResponse(await asyncio.to_thread(board.details, job))


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorResponse} for status in statuses}
