"""The service (labels over HTTP) and offline scoring. Loads neither torch nor transformers."""

from importlib.util import find_spec

from diplophrase.errors import MissingExtra


def require(command: str, extra: str, *packages: str) -> None:
    """Refuse to go on without `packages`; the message gives the line that installs them.

    Raises:
        MissingExtra: naming the first package that is not installed.
    """
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(command, extra, package)


def require_service() -> None:
    """Refuse to go on without what the service needs; offline scoring does without."""
    require("serving", "serve", "fastapi", "fastapi_offline", "prometheus_client", "uvicorn")
