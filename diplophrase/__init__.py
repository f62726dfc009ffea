"""diplophrase: reading diplomatic language at scale."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("diplophrase")
except PackageNotFoundError:  # run from a clone that is not installed
    __version__ = "0+unknown"
