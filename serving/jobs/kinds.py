"""The kinds of jobs: what each may be told, the command that does it, and what comes out.

A further kind is a request of its own in `serving.schemas.JobRequest` and a row in `KINDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diplophrase.errors import MissingExtra
from diplophrase.settings import Settings
from serving.jobs.scoring import read_counts, score_arguments


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of job is run.

    `arguments` are those of `diplophrase`, `packages` what these need of the extra `extra`;
    `read_output` turns what was printed on stdout into the result.
    """

    arguments: Callable[[dict[str, Any], Settings, Path], Sequence[str]]
    read_output: Callable[[str], dict[str, Any]]
    extra: str
    packages: tuple[str, ...]


def _train_arguments(options: dict[str, Any], settings: Settings, progress: Path) -> Sequence[str]:
    places = {"models": settings.models, "labels": settings.labels, "seeds": settings.seeds}
    named = {**places, "progress": progress} | {
        name: value for name, value in options.items() if name != "fast" and value is not None
    }
    flags = ["--fast"] if options["fast"] else []
    return ["train", *flags, *(f"--{name}={value}" for name, value in named.items())]


def _read_version(output: str) -> dict[str, Any]:
    """Return the version, which is the last line that `diplophrase train` prints."""
    lines = output.split()
    return {"model_version": lines[-1]} if lines else {}


KINDS: dict[str, Kind] = {
    "train": Kind(
        _train_arguments, _read_version, "train", ("torch", "transformers", "datasets", "sklearn")
    ),
    "score": Kind(score_arguments, read_counts, "score", ("fsspec", "pyarrow")),
}


def command_of(kind: str, options: dict[str, Any], settings: Settings, progress: Path) -> list[str]:
    """Return the command line of a job.

    Raises:
        MissingExtra: if the service's own `diplophrase` is to run it and lacks packages for it.
        DiplophraseError: as the kind of job has it, if the options cannot be used.
    """
    known = KINDS[kind]
    if not settings.job_command:
        for package in known.packages:
            if find_spec(package) is None:
                raise MissingExtra(f"A job of the kind {kind!r}", known.extra, package)
    program = settings.job_command or [sys.executable, "-m", "diplophrase"]
    return [*program, *known.arguments(options, settings, progress)]
