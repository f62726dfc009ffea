"""The `diplophrase` command: a thin layer over functions that can be called without it.

The one place in this package that reaches into `serving` and `training`, each imported only
when its command runs, so that `classify` needs no extra and `serve` loads no torch.
"""

from diplophrase.command.app import main

__all__ = ["main"]
