"""API keys for all that is not open: kept as hashes in a file, shown once, asked for here."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Request, Security
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from diplophrase.errors import DiplophraseError, InvalidRequest, SettingsError
from serving.errors import respond

log = logging.getLogger("diplophrase.serving")

MAX_NAME = 100
_BEARER = re.compile(r"(?i:bearer) +dp_(?P<id>[0-9a-f]{16})_(?P<secret>[0-9a-f]{64})")
_SCHEME = HTTPBearer(auto_error=False, description="`dp_...`, from `diplophrase keys create`")


class KeyRecord(BaseModel):
    """What is kept of a key: never its secret. `revoked` is None while the key is in force."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern="^[0-9a-f]{16}$")
    name: str = Field(min_length=1, max_length=MAX_NAME)
    created: AwareDatetime
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    revoked: AwareDatetime | None = None


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyRecord, ...]


class Unauthorized(DiplophraseError):
    """A request needs a key and carries none that is in force."""

    kind = "unauthorized"


def create_key(path: str | Path, name: str) -> tuple[KeyRecord, str]:
    """Add a key to the file at `path`, made if need be, and return it with its secret.

    The secret, `dp_<id>_<64 hexadecimal digits>`, stands nowhere else: it cannot be shown again.

    Raises:
        InvalidRequest: if the name is blank, longer than `MAX_NAME` characters or not printable.
        SettingsError: if the file is no file of keys or cannot be written.
    """
    name = name.strip()
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise InvalidRequest(
            f"The name of a key has {len(name)} characters; it takes 1 to {MAX_NAME}, all of "
            f"them printable. Name who or what will use the key."
        )
    secret = secrets.token_hex(32)
    record = KeyRecord(id=secrets.token_hex(8), name=name, created=_now(), sha256=_digest(secret))
    with _editing(Path(path)) as keys:
        keys[record.id] = record
    return record, f"dp_{record.id}_{secret}"


def list_keys(path: str | Path) -> tuple[KeyRecord, ...]:
    """Return all keys of the file, oldest first; none if there is no file.

    Raises:
        SettingsError: if the file is no file of keys or cannot be read.
    """
    return _read(Path(path))


def revoke_key(path: str | Path, key_id: str) -> KeyRecord:
    """End a key for good; one that was revoked before keeps its time.

    Raises:
        DiplophraseError: `not_found` if the file holds no key of this id.
        SettingsError: if the file is no file of keys or cannot be written.
    """
    with _editing(Path(path)) as keys:
        record = keys.get(key_id)
        if record is None:
            raise DiplophraseError(
                f"{path} holds no key {key_id!r}. See those there are: diplophrase keys list",
                kind="not_found",
            )
        if record.revoked is None:
            record = keys[key_id] = record.model_copy(update={"revoked": _now()})
    return record


class KeyStore:
    """The keys as the service sees them: read again whenever their file changes."""

    def __init__(self, path: str | Path) -> None:
        """Read the file at `path`; a missing one holds no key.

        Raises:
            SettingsError: if the file is no file of keys or cannot be read.
        """
        self.path = Path(path)
        self._keys: dict[str, KeyRecord] = {}
        self._stamp: tuple[int, ...] | None = ()  # unlike any file's, so that it is read at once
        self._current()

    @property
    def any_in_force(self) -> bool:
        """Tell whether some key opens what needs one."""
        return any(record.revoked is None for record in self._current().values())

    def check(self, header_value: str | None) -> KeyRecord | None:
        """Return the key that an `Authorization` header carries, None unless it is in force.

        Raises:
            SettingsError: if the file has become no file of keys, or cannot be read any more.
        """
        keys = self._current()
        given = _BEARER.fullmatch(header_value or "")
        record = keys.get(given["id"]) if given else None
        if given is None or record is None or record.revoked is not None:
            return None
        return record if hmac.compare_digest(_digest(given["secret"]), record.sha256) else None

    def _current(self) -> dict[str, KeyRecord]:
        stamp = _stamp(self.path)  # before the file is read: a change in between is seen next time
        if stamp != self._stamp:
            self._keys = {record.id: record for record in _read(self.path)}
            self._stamp = stamp
        return self._keys


def install_keys(app: FastAPI, path: str | Path) -> None:
    """Give `app` the keys of the file at `path`, for `require_key` to ask.

    Raises:
        SettingsError: if the file is no file of keys or cannot be read.
    """
    app.state.keys = KeyStore(path)
    app.add_exception_handler(Unauthorized, _refuse)


async def require_key(
    request: Request,
    _scheme: Annotated[HTTPAuthorizationCredentials | None, Security(_SCHEME)] = None,
) -> KeyRecord:
    """Let a request pass that carries a key in force; a route that needs one depends on this.

    Raises:
        Unauthorized: without such a key, and for everyone while there is none.
        DiplophraseError: `settings` if the file cannot be read any more; nothing that needs a key
            is answered then.
    """
    store: KeyStore = request.app.state.keys
    header = request.headers.get("authorization")
    try:
        record = store.check(header)
        is_open = record is not None or store.any_in_force
    except SettingsError as error:
        log.error("calls that need a key are refused: %s", error.message)
        raise DiplophraseError(
            "This call needs an API key, but the service cannot read its file of keys. "
            "Its log says why.",
            kind="settings",
        ) from None
    if record is None:
        raise Unauthorized(_reason(header, is_open))
    return record


def _reason(header: str | None, is_open: bool) -> str:
    if not is_open:
        return (
            "This call needs an API key, and there is none yet. Create one where the service runs: "
            "diplophrase keys create NAME"
        )
    found = "a key that is unknown or revoked" if header else "no key"
    return (
        f"This call needs an API key and carries {found}. Send the header "
        f"'Authorization: Bearer dp_...' with a key from: diplophrase keys create NAME"
    )


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Unauthorized)
    answer = respond(error)
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _digest(secret: str) -> str:
    # A secret has 256 random bits: nobody can guess it or keep a table of such, so a plain sha256
    # serves. Salt and a slow hash are for passwords, which people choose.
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what changes with the file; the inode, as each write is a new file."""
    try:
        state = path.stat()
    except OSError:
        return None  # if it is more than missing, reading says so
    return (state.st_mtime_ns, state.st_size, state.st_ino)


def _read(path: Path) -> tuple[KeyRecord, ...]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SettingsError(
            f"The file of keys {path} cannot be read: {error.strerror}. Let the user whom the "
            f"service runs as read it."
        ) from None
    try:
        return _KeyFile.model_validate_json(content).keys
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise SettingsError(
            f"{path} is no file of keys: {where}: {first['msg']}. Restore it, or move it away and "
            f"create new keys."
        ) from None


@contextmanager
def _editing(path: Path) -> Iterator[dict[str, KeyRecord]]:
    """Yield the keys by id, no other process writing, and write them when the block ends well."""
    path = path.resolve()  # one file has one lock, whatever link leads to it
    try:
        with _locked(path):
            keys = {record.id: record for record in _read(path)}
            yield keys
            _replace(path, list(keys.values()))
    except OSError as error:
        raise SettingsError(
            f"The file of keys {path} cannot be written: {error.strerror}. Name a file in a "
            f"folder that is there and may be written."
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`: a file beside it, since the file itself is replaced."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)  # gives the lock back


def _replace(path: Path, keys: Sequence[KeyRecord]) -> None:
    """Write `keys` to a new file of mode 0600 and put it in the place of the old one."""
    content = _KeyFile(keys=tuple(keys)).model_dump_json(indent=2)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mode 0600
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
