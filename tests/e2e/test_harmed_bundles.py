"""Bundles that are not whole: refused at the start and on a swap, with the file's name."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diplophrase import bundle as bundles
from diplophrase.bundle import current_bundle, load_bundle, set_current
from diplophrase.classifier import Classifier
from diplophrase.client import Client
from diplophrase.errors import BundleError
from diplophrase.settings import Settings
from tests.e2e.harm import (
    ALL_FILES,
    COMMITTED,
    flip_byte,
    flip_each_byte_of_manifest,
    link_version,
    permute_network,
    remove,
    reversed_labels,
    save_changed,
)
from tests.e2e.in_process import ask, running_app
from tests.e2e.server import COMMAND, ROOT, environment, running_server
from tests.e2e.test_clients import wait_until
from training.naming import name_labels

BODY = json.dumps({"texts": ["Peace."]}).encode()
CONFIG = json.loads((COMMITTED / "config.json").read_text(encoding="utf-8"))
HARMS = pytest.mark.parametrize("harm", [flip_byte, remove])
Harm = Callable[[Path], None]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a folder of two whole versions, `old` in use and `new`."""
    for name in ("old", "new"):
        link_version(tmp_path, name)
    (tmp_path / "CURRENT").write_text("old\n")
    return tmp_path


def named_by(file: str, harm: Harm) -> str:
    """Return the file that the message names: a hash that is wrong shows at the file it is of."""
    return "model.onnx" if file == "manifest.json" and harm is flip_byte else file


@pytest.mark.parametrize("file", ALL_FILES)
@HARMS
def test_each_file_counts_at_the_start(models: Path, file: str, harm: Harm) -> None:
    harm(models / "old" / file)

    async def start() -> None:
        async with running_app(Settings(models=models)):
            pytest.fail("it started")

    with pytest.raises(BundleError, match=rf"old/{named_by(file, harm)} (is missing|differs)"):
        asyncio.run(start())


@pytest.mark.parametrize("file", ALL_FILES)
@HARMS
def test_each_file_counts_on_a_swap_and_the_old_version_serves_on(
    models: Path, file: str, harm: Harm
) -> None:
    harm(models / "new" / file)

    async def swap() -> tuple[dict[str, Any], int, str]:
        async with running_app(Settings(models=models)) as app:
            (models / "CURRENT").write_text("new\n")
            await app.state.watcher.check()
            ready = json.loads((await ask(app, "/readyz")).body)
            answer = await ask(app, "/v1/classify", [BODY])
            return ready, answer.status, app.state.engine.classifier.bundle.path.name

    ready, status, version = asyncio.run(swap())
    assert ready["status"] == "ready"
    assert f"new/{named_by(file, harm)} " in ready["refused_model"]
    assert (status, version) == (200, "old")


def test_any_changed_byte_of_the_manifest_is_refused_or_changes_nothing(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = models / "old"
    whole = load_bundle(folder)
    known = {path: bundles.sha256_of(path) for path in folder.iterdir()}
    monkeypatch.setattr(bundles, "sha256_of", known.__getitem__)
    sealed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    messages = []
    for _ in flip_each_byte_of_manifest(folder):
        try:
            assert load_bundle(folder) == whole
        except BundleError as error:
            messages.append(error.message)
    assert len(messages) >= sum(len(name) + len(digest) for name, digest in sealed.items())
    assert [message for message in messages if str(folder) not in message] == []


def test_the_real_server_does_not_start_on_a_harmed_bundle(models: Path) -> None:
    flip_byte(models / "old" / "model.onnx")
    done = subprocess.run(
        [*COMMAND, "serve", "--port", "0"],
        cwd=ROOT,
        env=environment(models=models),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 5
    assert done.stderr.startswith(f"error: {models / 'old' / 'model.onnx'} differs from the sha256")


def test_the_real_server_keeps_its_model_and_takes_the_mended_one(models: Path) -> None:
    flip_byte(models / "new" / "tokenizer.json")
    with running_server(models=models, model_poll_s=3600) as server, Client(server.url) as client:
        (models / "CURRENT").write_text("new\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: server.figure("diplophrase_model_last_load_ok") == 0, "the swap is refused"
        )
        assert client.ready()
        assert len(client.classify(["Peace."])) == 1
        (models / "new" / "tokenizer.json").unlink()
        (models / "new" / "tokenizer.json").symlink_to(COMMITTED / "tokenizer.json")
        server.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: server.figure("diplophrase_model_last_load_ok") == 1, "the mended one is taken"
        )
        assert len(client.classify(["Peace."])) == 1


def test_a_pointer_that_cannot_be_read_is_refused_and_the_watcher_lives(models: Path) -> None:
    async def swap() -> tuple[str, str, str | None]:
        async with running_app(Settings(models=models, model_poll_s=0.02)) as app:
            (models / "CURRENT").write_bytes(b"\xff\xfe")
            await until(lambda: app.state.watcher.refused is not None)
            refused = app.state.watcher.refused
            set_current(models, "new")
            await until(lambda: app.state.engine.classifier.bundle.path.name == "new")
            return refused, app.state.engine.classifier.bundle.path.name, app.state.watcher.refused

    refused, version, after = asyncio.run(swap())
    assert "CURRENT cannot be read: it is not UTF-8" in refused
    assert (version, after) == ("new", None)


def test_a_fault_that_nobody_foresaw_does_not_end_the_watcher(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving import swap as swapping

    def fail(*_: object) -> None:
        raise RuntimeError("x")

    async def swap() -> tuple[str, str]:
        async with running_app(Settings(models=models, model_poll_s=0.02)) as app:
            with monkeypatch.context() as broken:
                broken.setattr(swapping, "load_warm", fail)
                (models / "CURRENT").write_text("new\n")
                await until(lambda: app.state.watcher.refused is not None)
                refused = app.state.watcher.refused
            await until(lambda: app.state.engine.classifier.bundle.path.name == "new")
            return refused, app.state.engine.classifier.bundle.path.name

    refused, version = asyncio.run(swap())
    assert refused == "The look at CURRENT failed (RuntimeError); see the log."
    assert version == "new"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def test_labels_put_in_another_order_by_hand_are_refused(models: Path) -> None:
    file = models / "old" / "config.json"
    file.unlink()
    file.write_text(json.dumps(reversed_labels(CONFIG)), encoding="utf-8")
    with pytest.raises(BundleError, match=r"old/config\.json differs from the sha256"):
        load_bundle(current_bundle(models))


def test_labels_in_another_order_in_network_and_config_alike_give_the_same(
    tmp_path: Path,
) -> None:
    count = len(CONFIG["labels"])
    network = tmp_path / "permuted.onnx"
    permute_network(COMMITTED / "model.onnx", network, range(count)[::-1])
    bundle = save_changed(tmp_path / "models", "turned", network, reversed_labels(CONFIG))
    texts = (ROOT / "seeds" / "003_606a9464ba09ff0c.txt").read_text(encoding="utf-8").splitlines()
    texts = [text for text in texts if text.strip()][:20]
    before, after = Classifier.load(COMMITTED), Classifier.load(bundle.path)
    assert after.labels == before.labels[::-1]
    for one, other in zip(before.classify(texts), after.classify(texts), strict=True):
        assert {hit.id: hit for hit in one.labels} == {hit.id: hit for hit in other.labels}
        assert one.scores == other.scores


def test_labels_in_another_order_than_the_network_names_them_are_refused(tmp_path: Path) -> None:
    labels = [label["id"] for label in CONFIG["labels"]]
    network = tmp_path / "named.onnx"
    name_labels(COMMITTED / "model.onnx", network, labels)
    whole = save_changed(tmp_path / "models", "whole", network, CONFIG)
    turned = save_changed(tmp_path / "models", "turned", network, reversed_labels(CONFIG))
    assert Classifier.load(whole.path).labels == tuple(labels)
    message = rf"^{turned.path}: model\.onnx gives other labels, or in another order, than config"
    with pytest.raises(BundleError, match=message):
        Classifier.load(turned.path)
