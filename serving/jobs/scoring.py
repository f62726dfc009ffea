"""The kind of job that scores archives, all of them in the folder that a setting names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diplophrase.errors import Detail, DiplophraseError, InvalidRequest, SettingsError
from diplophrase.settings import Settings
from serving.archive_folder import check_inside

_FLAGS = ("documents", "strict", "restart")


def score_arguments(options: dict[str, Any], settings: Settings, progress: Path) -> Sequence[str]:
    """Return the arguments of `diplophrase score` for a job.

    Raises:
        InvalidRequest: if the service scores no archives, or a name leads out of their folder.
        DiplophraseError: `not_ready` if that folder is not there.
    """
    folder = _open_folder(settings)
    outputs = {name: options[name] for name in ("output", "summary") if options.get(name)}
    inputs: list[str] = options["inputs"]
    check_inside(folder, [("inputs", index, name) for index, name in enumerate(inputs)])
    check_inside(folder, [(field, None, name) for field, name in outputs.items()])
    named = {
        "within": folder,
        "models": settings.models.resolve(),
        "progress": progress,
        **{
            name.replace("_", "-"): value
            for name, value in options.items()
            if value is not None and name not in ("inputs", "labels", *_FLAGS)
        },
    }
    if options.get("labels"):
        named["labels"] = ",".join(options["labels"])
    flags = [f"--{name}" for name in _FLAGS if options.get(name)]
    values = [f"--{name}={value}" for name, value in named.items()]
    return ["score", "--json", *flags, *values, "--", *inputs]  # no input is an option


def read_counts(output: str) -> dict[str, Any]:
    """Return the counts, which `diplophrase score --json` prints; none if `job_command` did not."""
    try:
        found = json.loads(output)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _open_folder(settings: Settings) -> Path:
    if settings.archives is None:
        rule = "the setting `archives` must name the folder that such jobs read and write"
        raise InvalidRequest(
            f"This service scores no archives: {rule}. Set it and start the service anew, or run "
            f"`diplophrase score` yourself.",
            details=[Detail("kind", "'score'", rule)],
        )
    if not settings.archives.is_dir():
        raise DiplophraseError(
            f"The folder {settings.archives} of the setting `archives` is not there. Make or mount "
            f"it, then start the job again.",
            kind="not_ready",
        )
    return settings.archives.resolve()


def check_archives(settings: Settings) -> None:
    """Refuse a folder of archives from which a job could reach what is no archive.

    Raises:
        SettingsError: naming the other setting.
    """
    if settings.archives is None:
        return
    archives = settings.archives.resolve()
    for name, place in _other_places(settings).items():
        other = place.resolve()
        if other.is_relative_to(archives) or archives.is_relative_to(other):
            raise SettingsError(
                f"archives: found {settings.archives}, which holds {place} of the setting "
                f"{name!r} or lies in it; a scoring job could overwrite that. Name a folder that "
                f"holds nothing but archives."
            )


def _other_places(settings: Settings) -> dict[str, Path]:
    places = {
        "models": settings.models,
        "labels": settings.labels,
        "seeds": settings.seeds,
        "jobs": settings.jobs_folder,
        "keys": settings.keys,
    }
    if settings.frozen_test is not None:
        places["frozen_test"] = settings.frozen_test
    if settings.database is not None:  # else it lies in the folder of labels
        from serving.store.database import parse_url

        store = parse_url(settings.database, settings.labels)
        if store.get_backend_name() == "sqlite" and store.database:
            places["database"] = Path(store.database)
    return places
