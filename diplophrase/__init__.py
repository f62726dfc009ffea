"""diplophrase: reading diplomatic language at scale."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("diplophrase")
except PackageNotFoundError:  # run from a clone that is not installed
    __version__ = "0+unknown"

_OFFLINE = ("score", "score_rows")  # from the score extra; loaded when they are asked for


def __getattr__(name: str) -> Any:
    if name in _OFFLINE:
        from diplophrase.command import offline

        return offline(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
