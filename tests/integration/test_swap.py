"""The service follows CURRENT, and refuses a bundle that is not whole."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from diplophrase.bundle import Bundle, current_bundle, save_bundle, set_current
from diplophrase.settings import Settings
from serving.engine import Engine
from serving.metrics import Metrics
from serving.swap import ModelWatcher
from tests.integration.conftest import ROOT

TEXT = "Both sides agreed to lift relations to a comprehensive strategic partnership."


def add_version(models: Path, version: str) -> Bundle:
    """Publish the committed bundle under another name."""
    staged = models / ".staged"
    shutil.copytree(current_bundle(ROOT / "models"), staged)
    config = json.loads((staged / "config.json").read_text(encoding="utf-8"))
    config["model_version"] = version
    (staged / "config.json").write_text(json.dumps(config), encoding="utf-8")
    bundle = save_bundle(models, staged, {})
    shutil.rmtree(staged)
    return bundle


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for version in ("old", "new"):
        add_version(tmp_path, version)
    set_current(tmp_path, "old")
    return tmp_path


async def ask(engine: Engine, texts: int = 1) -> set[str]:
    results = await engine.classify([TEXT] * texts, evidence=False)
    return {result.model_version for result in results}


def test_requests_during_a_swap_all_succeed_each_with_one_version(models: Path) -> None:
    async def swap_under_load() -> list[set[str]]:
        engine = Engine.open(Settings(models=models), current_bundle(models), Metrics())
        watcher = ModelWatcher(engine)
        set_current(models, "new")
        swapping = asyncio.create_task(watcher.check())
        answers = []
        while not swapping.done():
            answers.append(await ask(engine, texts=5))
        answers.append(await ask(engine))
        await asyncio.to_thread(engine.close)
        return answers

    answers = asyncio.run(swap_under_load())
    assert answers[0] == {"old"}
    assert answers[-1] == {"new"}
    assert all(len(versions) == 1 for versions in answers)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("flip", r"model\.onnx differs from the sha256 in manifest\.json"),
        ("remove", r"tokenizer\.json is missing"),
        ("nowhere", r"CURRENT names 'nowhere', but .*nowhere is not a folder"),
    ],
)
def test_a_broken_bundle_is_refused_and_the_old_one_serves_on(
    models: Path, harm: str, reason: str
) -> None:
    async def break_and_mend() -> tuple[str | None, set[str], str | None, set[str]]:
        engine = Engine.open(Settings(models=models), current_bundle(models), Metrics())
        watcher = ModelWatcher(engine)
        harmed = models / "new"
        kept = models / ".kept"
        shutil.copytree(harmed, kept)
        if harm == "flip":
            content = bytearray((harmed / "model.onnx").read_bytes())
            content[1000] ^= 1
            (harmed / "model.onnx").write_bytes(content)
        elif harm == "remove":
            (harmed / "tokenizer.json").unlink()
        (models / "CURRENT").write_text("nowhere\n" if harm == "nowhere" else "new\n")
        await watcher.check()
        refused, still = watcher.refused, await ask(engine)
        shutil.rmtree(harmed)
        kept.rename(harmed)
        set_current(models, "new")
        await watcher.check()
        after = watcher.refused, await ask(engine)
        await asyncio.to_thread(engine.close)
        return refused, still, *after

    refused, still, refused_after, after = asyncio.run(break_and_mend())
    assert still == {"old"}
    assert refused is not None
    assert re.search(reason, refused)
    assert refused_after is None
    assert after == {"new"}


def test_a_bundle_with_other_labels_than_its_network_is_refused(models: Path) -> None:
    staged = models / ".staged"
    shutil.copytree(models / "new", staged)
    config = json.loads((staged / "config.json").read_text(encoding="utf-8"))
    config |= {"labels": config["labels"][:-1], "model_version": "short"}
    (staged / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_bundle(models, staged, {})
    shutil.rmtree(staged)

    async def check() -> str | None:
        engine = Engine.open(Settings(models=models), current_bundle(models), Metrics())
        watcher = ModelWatcher(engine)
        set_current(models, "short")
        await watcher.check()
        await asyncio.to_thread(engine.close)
        return watcher.refused

    refused = asyncio.run(check())
    assert refused is not None
    assert "model.onnx gives 18 logits, config.json says 17" in refused
