"""The `diplophrase` command: a thin layer over functions that can be called without it.

The one place in this package that reaches into `serving` and `training`, each imported only
when its command runs, so that `classify` needs no extra and `serve` loads no torch.
"""

from typing import Any

from diplophrase.command.app import main

__all__ = ["main", "offline"]


def offline(name: str) -> Any:
    """Return `score` or `score_rows`, which `diplophrase` offers under these names."""
    import serving.archive

    return getattr(serving.archive, name)
