"""The label store: hand labels that users add, in SQLite or PostgreSQL."""

from importlib.util import find_spec

from diplophrase.errors import MissingExtra

for _package in ("sqlalchemy", "alembic"):
    if find_spec(_package) is None:
        raise MissingExtra("serving.store", "serve", _package)
