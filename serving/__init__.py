"""The service: labels over HTTP. Loads neither torch nor transformers."""

from importlib.util import find_spec

from diplophrase.errors import MissingExtra

for _package in ("fastapi", "fastapi_offline", "prometheus_client", "uvicorn"):
    if find_spec(_package) is None:
        raise MissingExtra("serving", "serve", _package)
