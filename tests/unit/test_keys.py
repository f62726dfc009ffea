"""API keys: what is kept, what is refused, and that nothing gets lost."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from diplophrase.command.keys import keys_app
from diplophrase.errors import DiplophraseError, InvalidRequest, SettingsError
from serving import keys as module
from serving.errors import install_errors
from serving.keys import (
    KeyRecord,
    KeyStore,
    create_key,
    install_keys,
    list_keys,
    require_key,
    revoke_key,
)

CLOSED = (
    "This call needs an API key, and there is none yet. Create one where the service runs: "
    "diplophrase keys create NAME"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def client(path: Path) -> TestClient:
    """A service whose one address writes."""
    app = FastAPI()
    install_errors(app)
    install_keys(app, path)

    @app.post("/v1/things")
    async def write(body: dict[str, int], key: Annotated[KeyRecord, Depends(require_key)]) -> str:
        return key.name

    return TestClient(app, raise_server_exceptions=False)


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_the_secret_is_shown_once_and_only_its_hash_is_kept(path: Path) -> None:
    record, secret = create_key(path, "  archive of Lomé ")
    parts = re.fullmatch(r"dp_([0-9a-f]{16})_([0-9a-f]{64})", secret)
    assert parts is not None
    assert parts[1] == record.id
    assert record.name == "archive of Lomé"
    assert record.sha256 == hashlib.sha256(parts[2].encode()).hexdigest()
    assert parts[2] not in path.read_text(encoding="utf-8")
    assert list_keys(path) == (record,)


def test_the_file_is_json_with_times_in_utc(path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    record, _ = create_key(path, "archive")
    [row] = json.loads(path.read_text(encoding="utf-8"))["keys"]
    assert set(row) == {"id", "name", "created", "sha256", "revoked"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["created"])
    assert before <= record.created <= datetime.now(UTC)
    assert row["revoked"] is None


def test_only_the_owner_reads_the_file_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        create_key(path, "one")
        path.chmod(0o644)
        create_key(path, "other")
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"keys.json": 0o600, "keys.json.lock": 0o600}


def test_keys_are_listed_in_the_order_they_were_made(path: Path) -> None:
    assert list_keys(path) == ()
    made = [create_key(path, name)[0] for name in ("b", "a", "b")]
    assert list_keys(path) == tuple(made)
    assert len({record.id for record in made}) == 3


@pytest.mark.parametrize(("name", "length"), [("", 0), (" \t", 0), ("x" * 101, 101), ("a\nb", 3)])
def test_a_name_that_cannot_be_used(path: Path, name: str, length: int) -> None:
    message = (
        f"The name of a key has {length} characters; it takes 1 to 100, all of them printable. "
        f"Name who or what will use the key."
    )
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$"):
        create_key(path, name)
    assert not path.exists()


def test_eight_processes_at_once_lose_no_key(path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["serving.keys"])
    work = [(path, f"key {number}") for number in range(40)]
    all_up = context.Barrier(8)
    with context.Pool(8, initializer=all_up.wait) as pool:
        made = pool.starmap(create_key, work, chunksize=5)
    assert {record.id: record for record, _ in made} == {key.id: key for key in list_keys(path)}
    store = KeyStore(path)
    assert [store.check(f"Bearer {secret}") for _, secret in made] == [record for record, _ in made]
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_link_and_its_file_share_one_lock(path: Path, tmp_path: Path) -> None:
    create_key(path, "one")
    link = tmp_path / "link.json"
    link.symlink_to(path)
    create_key(link, "other")
    assert link.is_symlink()
    assert [record.name for record in list_keys(path)] == ["one", "other"]
    assert not (tmp_path / "link.json.lock").exists()


def test_a_write_that_fails_leaves_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key(path, "one")
    before = path.read_bytes()

    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", disk_full)
    with pytest.raises(SettingsError, match=r"cannot be written: No space left on device\. Name"):
        create_key(path, "other")
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere/keys\.json cannot be written: No such file"):
        create_key(tmp_path / "nowhere" / "keys.json", "one")


def test_a_key_is_found_by_its_secret_alone(path: Path) -> None:
    records, secrets = zip(*(create_key(path, name) for name in "ab"), strict=True)
    store = KeyStore(path)
    for record, secret in zip(records, secrets, strict=True):
        assert store.check(f"Bearer {secret}") == record
        assert store.check(f"bearer   {secret}") == record


GARBAGE: dict[str, Callable[[str, str], str | None]] = {
    "no header": lambda secret, other: None,
    "an empty header": lambda secret, other: "",
    "no scheme": lambda secret, other: secret,
    "another scheme": lambda secret, other: f"Basic {secret}",
    "no secret": lambda secret, other: "Bearer ",
    "not our form": lambda secret, other: "Bearer hunter2",
    "not ASCII": lambda secret, other: f"Bearer {secret[:-1]}é",
    "other digits": lambda secret, other: f"Bearer {secret[:-1]}\u0661",
    "upper case": lambda secret, other: f"Bearer {secret.upper()}",
    "too short": lambda secret, other: f"Bearer {secret[:-1]}",
    "too long": lambda secret, other: f"Bearer {secret}0",
    "a line end": lambda secret, other: f"Bearer {secret}\n",
    "the id alone": lambda secret, other: f"Bearer dp_{secret[3:19]}_",
    "an unknown id": lambda secret, other: f"Bearer dp_{'0' * 16}{secret[19:]}",
    "another key's secret": lambda secret, other: f"Bearer {secret[:19]}{other[19:]}",
    "the last digit wrong": lambda secret, other: (
        f"Bearer {secret[:-1]}{'1' if secret[-1] == '0' else '0'}"
    ),
    "the hash for the secret": lambda secret, other: (
        f"Bearer {secret[:20]}{hashlib.sha256(secret[20:].encode()).hexdigest()}"
    ),
}


@pytest.mark.parametrize("make", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_no_key(path: Path, make: Callable[[str, str], str | None]) -> None:
    (_, secret), (_, other) = create_key(path, "one"), create_key(path, "other")
    assert KeyStore(path).check(make(secret, other)) is None


def test_a_revoked_key_is_refused_and_stays_on_the_list(path: Path) -> None:
    (one, secret), (other, other_secret) = create_key(path, "one"), create_key(path, "other")
    store = KeyStore(path)
    assert store.check(f"Bearer {secret}") == one
    revoked = revoke_key(path, one.id)
    assert revoked.revoked is not None
    assert store.check(f"Bearer {secret}") is None
    assert store.check(f"Bearer {other_secret}") == other
    assert list_keys(path) == (revoked, other)


def test_revoking_twice_keeps_the_first_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = create_key(path, "one")
    first = revoke_key(path, record.id)
    monkeypatch.setattr(module, "_now", lambda: datetime(2100, 1, 1, tzinfo=UTC))
    assert revoke_key(path, record.id) == first


def test_revoking_what_is_not_there(path: Path) -> None:
    create_key(path, "one")
    message = "holds no key 'f00'. See those there are: diplophrase keys list"
    with pytest.raises(DiplophraseError, match=f"{re.escape(message)}$") as raised:
        revoke_key(path, "f00")
    assert raised.value.kind == "not_found"
    assert len(list_keys(path)) == 1


def test_a_store_sees_keys_made_after_it_and_a_file_taken_away(path: Path) -> None:
    store = KeyStore(path)
    assert not store.any_in_force
    record, secret = create_key(path, "late")
    assert store.check(f"Bearer {secret}") == record
    assert store.any_in_force
    path.unlink()
    assert store.check(f"Bearer {secret}") is None


def test_an_unchanged_file_is_not_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, secret = create_key(path, "one")
    store = KeyStore(path)
    monkeypatch.setattr(module, "_read", None)
    assert store.check(f"Bearer {secret}") == record


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "the whole: Invalid JSON"),
        (b'{"keys": [', "the whole: Invalid JSON"),
        (b"\xff\xfe", "the whole: Invalid JSON"),
        (b"[]", "the whole: Input should be an object"),
        (b"{}", "keys: Field required"),
        (b'{"keys": [{"id": "x"}]}', "keys.0.id: String should match pattern"),
        (b'{"keys": [], "more": 1}', "more: Extra inputs are not permitted"),
    ],
)
def test_a_broken_file_is_refused_and_left_as_it_is(path: Path, content: bytes, fault: str) -> None:
    path.write_bytes(content)
    broken = f"^{re.escape(f'{path} is no file of keys: {fault}')}.*Restore it, or move it away"
    with pytest.raises(SettingsError, match=broken):
        KeyStore(path)
    with pytest.raises(SettingsError, match=broken):
        list_keys(path)
    with pytest.raises(SettingsError, match=broken):
        create_key(path, "one")
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_read(path: Path) -> None:
    path.mkdir()
    with pytest.raises(SettingsError, match=r"keys\.json cannot be read: Is a directory\. Let"):
        KeyStore(path)


def test_all_that_needs_a_key_is_closed_while_there_is_none(client: TestClient) -> None:
    answer = client.post("/v1/things", json={}, headers=bearer("dp_x_y"))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {"error": {"kind": "unauthorized", "message": CLOSED, "details": []}}


def test_it_is_closed_again_when_all_keys_are_revoked(client: TestClient, path: Path) -> None:
    record, secret = create_key(path, "one")
    revoke_key(path, record.id)
    answer = client.post("/v1/things", json={}, headers=bearer(secret))
    assert (answer.status_code, answer.json()["error"]["message"]) == (401, CLOSED)


@pytest.mark.parametrize(
    ("headers", "found"),
    [({}, "no key"), (bearer("hunter2"), "a key that is unknown or revoked")],
)
def test_a_request_without_a_key_in_force(
    client: TestClient, path: Path, headers: dict[str, str], found: str
) -> None:
    create_key(path, "one")
    answer = client.post("/v1/things", json={}, headers=headers)
    message = (
        f"This call needs an API key and carries {found}. Send the header "
        f"'Authorization: Bearer dp_...' with a key from: diplophrase keys create NAME"
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {"error": {"kind": "unauthorized", "message": message, "details": []}}


def test_a_key_opens_a_running_service(client: TestClient, path: Path) -> None:
    record, secret = create_key(path, "archive")
    opened = client.post("/v1/things", json={}, headers=bearer(secret))
    assert (opened.status_code, opened.json()) == (200, "archive")
    create_key(path, "other")
    revoke_key(path, record.id)
    assert client.post("/v1/things", json={}, headers=bearer(secret)).status_code == 401


def test_the_key_is_asked_for_before_the_body_is_judged(client: TestClient, path: Path) -> None:
    _, secret = create_key(path, "one")
    bad = {"number": "many"}
    assert client.post("/v1/things", json=bad).status_code == 401
    assert client.post("/v1/things", json=bad, headers=bearer(secret)).status_code == 422


def test_a_file_that_breaks_later_closes_what_needs_a_key_and_tells_the_log_only(
    client: TestClient, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = create_key(path, "one")
    path.write_text("{", encoding="utf-8")
    answer = client.post("/v1/things", json={}, headers=bearer(secret))
    assert (answer.status_code, answer.json()["error"]["kind"]) == (500, "settings")
    assert answer.json()["error"]["message"] == (
        "This call needs an API key, but the service cannot read its file of keys. "
        "Its log says why."
    )
    assert f"{path} is no file of keys" in caplog.text


def test_a_broken_file_stops_the_service_before_it_starts(path: Path) -> None:
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SettingsError, match="is no file of keys"):
        install_keys(FastAPI(), path)


def test_docs_say_which_addresses_need_a_key(client: TestClient) -> None:
    api = client.get("/openapi.json").json()
    assert api["paths"]["/v1/things"]["post"]["security"] == [{"HTTPBearer": []}]
    assert api["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


def test_the_command_prints_the_secret_and_nothing_else_to_stdout(path: Path) -> None:
    done = CliRunner().invoke(keys_app, ["create", "archive", "--file", str(path)])
    [record] = list_keys(path)
    assert done.exit_code == 0
    assert KeyStore(path).check(f"Bearer {done.stdout.removesuffix(chr(10))}") == record
    assert done.stderr.startswith(f"Key {record.id} for archive is in force. {path} keeps only")


def test_the_command_takes_the_file_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIPLOPHRASE_KEYS", raising=False)
    CliRunner().invoke(keys_app, ["create", "one"], catch_exceptions=False)
    assert len(list_keys("keys.json")) == 1
    monkeypatch.setenv("DIPLOPHRASE_KEYS", "other.json")
    CliRunner().invoke(keys_app, ["create", "two"], catch_exceptions=False)
    assert [record.name for record in list_keys("other.json")] == ["two"]


def test_the_command_lists_and_revokes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    create_key(path, "[bold]one[/bold]")
    record, _ = create_key(path, "other")
    done = CliRunner().invoke(keys_app, ["revoke", record.id, "--file", str(path)])
    time = f"{list_keys(path)[1].revoked:%Y-%m-%dT%H:%M:%SZ}"
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Key {record.id} for other is revoked since {time}.\n"
    listed = CliRunner().invoke(keys_app, ["list", "--file", str(path)])
    rows = [line for line in listed.stdout.splitlines() if "Z" in line]
    assert [row.count("Z") for row in rows] == [1, 2]  # times made, times made and revoked
    assert "[bold]one[/bold]" in rows[0]
    assert record.id in rows[1]
    assert time in rows[1]
