"""The one folder in which a scoring job may read and write: which names stay inside of it.

The service asks before it starts a job, and the job itself asks again of every file that it opens,
as a pattern may have found it by way of a link. Needs no package of the `score` extra.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from diplophrase.errors import Detail, InvalidRequest

_ENDINGS = (".lock", ".parts", ".manifest.json", ".rejected.jsonl")  # beside an output
_SCRATCH = ".new"
_MEANT = ("file:", "local:", "data:", "~")  # beginnings that fsspec reads as more than a name


def check_inside(folder: Path, named: Iterable[tuple[str, int | None, str]]) -> None:
    """Refuse names that mean a file outside `folder`, or that are no plain relative names.

    `named` are the field of a request, the index in it and the name; a pattern counts as a name.

    Raises:
        InvalidRequest: naming every one of them.
    """
    details = [
        Detail(field, repr(name)[:80], rule, index)
        for field, index, name in named
        if (rule := _rule_broken(folder, name, written=field != "inputs"))
    ]
    if details:
        faults = "; ".join(f"{each.field}: found {each.found}; {each.rule}" for each in details)
        raise InvalidRequest(f"{faults}. Nothing was read or written.", details=details)


def _rule_broken(folder: Path, name: str, *, written: bool) -> str | None:
    parts = PurePosixPath(name).parts
    if "://" in name or "::" in name or name.startswith(_MEANT) or name == "-":
        return "must be a name in the folder of archives: no URL, no '~', no '-' for stdin"
    if not parts or parts[0] == "/" or ".." in parts:
        return "must be relative to the folder of archives, without '..'"
    if written and (name.endswith((*_ENDINGS, _SCRATCH)) or _has_parts_folder(parts)):
        return f"must not end as the files beside an output do ({', '.join(_ENDINGS)})"
    paths = files_beside(folder / name) if written else [folder / name]
    if not all(lies_in(folder, path) for path in paths):
        return "must not lead out of the folder of archives by a link"
    return None


def _has_parts_folder(parts: Iterable[str]) -> bool:
    return any(part.endswith(".parts") for part in parts)


def files_beside(output: Path) -> list[Path]:
    """Return the paths that a run may write for `output` and beside it."""
    named = [output.with_name(output.name + ending) for ending in ("", *_ENDINGS)]
    return [*named, *(path.with_name(path.name + _SCRATCH) for path in named)]


def lies_in(folder: Path, path: Path) -> bool:
    """Tell whether a path is inside a folder, all links followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a name too long for a file, a loop of links
        return False
