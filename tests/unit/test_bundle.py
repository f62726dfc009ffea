"""Bundles on disk: whole or refused, never half-written, and the pointer that is swapped."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diplophrase.bundle import (
    FILES,
    SCHEMA_VERSION,
    BundleConfig,
    current_bundle,
    load_bundle,
    save_bundle,
    set_current,
    sha256_of,
)
from diplophrase.errors import BundleError

FACTS = {"seed": 7, "created": "2026-11-22"}


def config(**fields: Any) -> dict[str, Any]:
    label = {
        "id": "trade",
        "name": "trade",
        "definition": "A rule.",
        "threshold": 0.4,
        "calibration": {"slope": 1.5, "intercept": -0.25},
    }
    whole = {
        "schema_version": SCHEMA_VERSION,
        "model_version": "v1",
        "codebook_version": "1.0",
        "codebook_hash": "0" * 64,
        "labels": [label],
        "attributes": [],
        "speakers": ["joint", "none"],
        "max_tokens": 128,
        "base": {"checkpoint": "tiny", "revision": "1" * 64},
    }
    return whole | fields


def changed_label(**fields: Any) -> list[dict[str, Any]]:
    return [config()["labels"][0] | fields]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that lays out the files of a bundle, and gives their folder."""

    def lay_out(**fields: Any) -> Path:
        folder = tmp_path / "staged"
        folder.mkdir(exist_ok=True)
        for name in FILES:
            (folder / name).write_bytes(f"content of {name}\n".encode())
        (folder / "model.onnx").write_bytes(bytes(range(256)))
        (folder / "config.json").write_text(json.dumps(config(**fields)), encoding="utf-8")
        return folder

    return lay_out


@pytest.fixture
def saved(models: Path, stage: Callable[..., Path]) -> Path:
    """Return the folder of a saved bundle, version v1."""
    return save_bundle(models, stage(), FACTS).path


def seal(folder: Path, **changes: Any) -> None:
    """Write a manifest that fits the files in `folder`, `changes` applied."""
    files = {name: sha256_of(folder / name) for name in FILES}
    manifest = {"files": files, **changes}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def refuse(message: str, call: Callable[..., object], *arguments: object) -> None:
    with pytest.raises(BundleError, match=f"^{re.escape(message)}$") as caught:
        call(*arguments)
    assert (caught.value.kind, caught.value.status, caught.value.exit_code) == ("bundle", 503, 5)


def fail(*_: object) -> None:
    raise OSError("disk full")


def test_a_saved_bundle_loads_as_it_was_staged(models: Path, stage: Callable[..., Path]) -> None:
    staged = stage()
    bundle = save_bundle(models, staged, FACTS)
    assert bundle == load_bundle(models / "v1")
    assert (bundle.path, bundle.version) == (models / "v1", "v1")
    assert bundle.config == BundleConfig.model_validate(config())
    assert bundle.config.labels[0].calibration.slope == 1.5
    assert bundle.config.activation == "one sigmoid per label"
    assert sorted(path.name for path in bundle.path.iterdir()) == sorted([*FILES, "manifest.json"])
    for name in FILES:
        assert (bundle.path / name).read_bytes() == (staged / name).read_bytes()


def test_the_manifest_holds_the_hashes_and_the_facts(saved: Path) -> None:
    hashes = {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in FILES}
    manifest = json.loads((saved / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == {"files": hashes, **FACTS}
    assert manifest["files"]["README.md"] == (
        "77c4b939a73ea6b9bab6a5fea384d4a7d2cbf5c62c8f696245752d49f66c6f12"
    )


def test_a_saved_bundle_can_be_read_by_others(saved: Path) -> None:
    assert saved.stat().st_mode & 0o777 == 0o755


def test_saving_leaves_nothing_beside_the_bundle(models: Path, saved: Path) -> None:
    assert [path.name for path in models.iterdir()] == ["v1"]


def test_staged_files_that_are_not_of_a_bundle_stay_out(
    models: Path, stage: Callable[..., Path]
) -> None:
    staged = stage()
    (staged / "notes.txt").write_text("not part of it")
    bundle = save_bundle(models, staged, {})
    assert not (bundle.path / "notes.txt").exists()


def test_a_version_is_never_overwritten(
    models: Path, saved: Path, stage: Callable[..., Path]
) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    refuse(
        f"{saved} exists. Versions are never edited: choose a new name.",
        save_bundle,
        models,
        stage(max_tokens=64),
        {},
    )
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert [path.name for path in models.iterdir()] == ["v1"]


def test_two_versions_stand_side_by_side(
    models: Path, saved: Path, stage: Callable[..., Path]
) -> None:
    save_bundle(models, stage(model_version="v2", max_tokens=64), {})
    assert sorted(path.name for path in models.iterdir()) == ["v1", "v2"]
    assert load_bundle(models / "v1").config.max_tokens == 128
    assert load_bundle(models / "v2").config.max_tokens == 64


@pytest.mark.parametrize("name", FILES)
def test_a_staged_folder_that_lacks_a_file_leaves_nothing(
    models: Path, stage: Callable[..., Path], name: str
) -> None:
    staged = stage()
    (staged / name).unlink()
    refuse(
        f"No version was added to {models}: {staged / name}: No such file or directory. "
        f"Mend that and save again.",
        save_bundle,
        models,
        staged,
        {},
    )
    assert list(models.iterdir()) == []


def test_a_staged_config_that_does_not_load_leaves_nothing(
    models: Path, stage: Callable[..., Path]
) -> None:
    with pytest.raises(
        BundleError, match=r"config\.json: max_tokens: Input should be greater than 2"
    ):
        save_bundle(models, stage(max_tokens=2), {})
    assert list(models.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    refuse(
        f"{path} is not a folder. Name a folder that holds a bundle, "
        "or make one with: diplophrase train",
        load_bundle,
        path,
    )


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    refuse(
        f"{saved / name} is missing. A bundle is whole or unusable: restore it.",
        load_bundle,
        saved,
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte_is_named(saved: Path, name: str, place: int) -> None:
    content = bytearray((saved / name).read_bytes())
    content[place] ^= 1
    (saved / name).write_bytes(content)
    refuse(
        f"{saved / name} differs from the sha256 in manifest.json. "
        "Bundles are never edited: restore this file or train a new version.",
        load_bundle,
        saved,
    )


def test_a_file_that_the_manifest_leaves_out_is_named(saved: Path) -> None:
    files = {name: sha256_of(saved / name) for name in FILES if name != "metrics.json"}
    seal(saved, files=files)
    refuse(
        f"{saved / 'metrics.json'} differs from the sha256 in manifest.json. "
        "Bundles are never edited: restore this file or train a new version.",
        load_bundle,
        saved,
    )


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "is not JSON: Expecting property name enclosed in double quotes"),
        (b"", "is not JSON: Expecting value: line 1 column 1"),
        (b"\xff", "is not JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"[]", "is not a JSON object. Restore the file."),
        (b"{}", "holds no hashes. Restore the file."),
        (b'{"files": ["model.onnx"]}', "holds no hashes. Restore the file."),
        (b'{"files": null}', "holds no hashes. Restore the file."),
    ],
)
def test_a_manifest_that_cannot_be_used(saved: Path, content: bytes, fault: str) -> None:
    path = saved / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=f"^{re.escape(f'{path} {fault}')}.*"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: "),
        ("[]", "is not a JSON object. Restore the file."),
    ],
)
def test_a_sealed_config_that_is_no_object(saved: Path, content: str, message: str) -> None:
    path = saved / "config.json"
    path.write_text(content)
    seal(saved)
    with pytest.raises(BundleError, match=f"^{re.escape(f'{path} {message}')}"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"model_version": 7}, "model_version: Input should be a valid string"),
        ({"labels": []}, "labels: Tuple should have at least 1 item after validation, not 0"),
        (
            {"labels": changed_label(threshold=1.5)},
            "labels.0.threshold: Input should be less than or equal to 1",
        ),
        (
            {"labels": changed_label(calibration={"slope": 0, "intercept": 0})},
            "labels.0.calibration.slope: Input should be greater than 0",
        ),
        (
            {"labels": changed_label(colour="red")},
            "labels.0.colour: Extra inputs are not permitted",
        ),
        ({"max_tokens": 2}, "max_tokens: Input should be greater than 2"),
        (
            {"domain": {"weights": [1.0], "intercept": 0.0, "threshold": 1}},
            "domain.threshold: Input should be less than 1",
        ),
        ({"base": {"checkpoint": "tiny"}}, "base.revision: Field required"),
        ({"colour": "red"}, "colour: Extra inputs are not permitted"),
    ],
)
def test_a_sealed_config_that_breaks_the_schema(
    saved: Path, fields: dict[str, Any], fault: str
) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(config(**fields)))
    seal(saved)
    refuse(f"{path}: {fault}", load_bundle, saved)


def test_a_config_without_a_field(saved: Path) -> None:
    whole = config()
    del whole["schema_version"]
    (saved / "config.json").write_text(json.dumps(whole))
    seal(saved)
    refuse(f"{saved / 'config.json'}: schema_version: Field required", load_bundle, saved)


@pytest.mark.parametrize("other", [{}, {"colour": "red", "labels": []}])
@pytest.mark.parametrize("version", [0, 1, "one", None])
def test_another_schema_version_is_told_first(
    saved: Path, version: object, other: dict[str, Any]
) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(config(schema_version=version, **other)))
    seal(saved)
    refuse(
        f"{path} has schema version {version}; this program reads 2. "
        "Use the program that made it, or train again.",
        load_bundle,
        saved,
    )


def test_current_names_the_folder_that_answers(models: Path, saved: Path) -> None:
    set_current(models, "v1")
    assert current_bundle(models) == saved
    assert (models / "CURRENT").read_bytes() == b"v1\n"
    assert (models / "CURRENT").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in models.iterdir()) == ["CURRENT", "v1"]


def test_current_is_swapped_and_swapped_back(
    models: Path, saved: Path, stage: Callable[..., Path]
) -> None:
    save_bundle(models, stage(model_version="v2"), {})
    for version in ("v1", "v2", "v1"):
        set_current(models, version)
        assert current_bundle(models) == models / version
    assert sorted(path.name for path in models.iterdir()) == ["CURRENT", "v1", "v2"]


@pytest.mark.parametrize("content", ["v1", "v1\n", "  v1 \r\n"])
def test_white_space_around_the_name_does_not_count(
    models: Path, saved: Path, content: str
) -> None:
    (models / "CURRENT").write_text(content)
    assert current_bundle(models) == saved


def test_current_is_missing(models: Path, saved: Path) -> None:
    refuse(
        f"{models / 'CURRENT'} is missing. Run in a clone, name the folder with --models, "
        "or train and promote a model.",
        current_bundle,
        models,
    )


@pytest.mark.parametrize(("content", "name"), [("", ""), ("\n", ""), ("v9\n", "v9")])
def test_current_names_nothing(models: Path, saved: Path, content: str, name: str) -> None:
    (models / "CURRENT").write_text(content)
    refuse(
        f"{models / 'CURRENT'} names {name!r}, but {models / name} is not a folder.",
        current_bundle,
        models,
    )


def test_a_pointer_that_is_no_text(models: Path, saved: Path) -> None:
    (models / "CURRENT").write_bytes(b"v1\xff")
    refuse(
        f"{models / 'CURRENT'} cannot be read: it is not UTF-8. "
        "Write a version with: diplophrase models promote",
        current_bundle,
        models,
    )


def test_a_pointer_to_a_name_that_no_disk_takes(models: Path, saved: Path) -> None:
    (models / "CURRENT").write_text("v" * 5000)
    refuse(
        f"{models / 'CURRENT'} cannot be read: File name too long. "
        "Write a version with: diplophrase models promote",
        current_bundle,
        models,
    )


def test_a_version_that_another_process_took_meanwhile(
    models: Path, saved: Path, stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diplophrase.bundle.Path.exists", lambda _: False)
    refuse(
        f"{saved} exists. Versions are never edited: choose a new name.",
        save_bundle,
        models,
        stage(),
        {},
    )
    assert [path.name for path in models.iterdir()] == ["v1"]


def test_an_unknown_version_does_not_become_current(models: Path, saved: Path) -> None:
    set_current(models, "v1")
    refuse(
        f"{models / 'v9'} is not a folder. Name a folder that holds a bundle, "
        "or make one with: diplophrase train",
        set_current,
        models,
        "v9",
    )
    assert current_bundle(models) == saved


def test_a_damaged_version_does_not_become_current(
    models: Path, saved: Path, stage: Callable[..., Path]
) -> None:
    set_current(models, "v1")
    damaged = save_bundle(models, stage(model_version="v2"), {}).path
    (damaged / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.onnx differs from the sha256"):
        set_current(models, "v2")
    assert (models / "CURRENT").read_bytes() == b"v1\n"
    assert sorted(path.name for path in models.iterdir()) == ["CURRENT", "v1", "v2"]


@pytest.mark.parametrize("step", ["os.fsync", "Path.rename"])
def test_a_save_that_fails_leaves_nothing(
    models: Path, stage: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    staged = stage()
    monkeypatch.setattr(f"diplophrase.bundle.{step}", fail)
    with pytest.raises(BundleError, match=rf"^No version was added to {models}: .*: disk full\."):
        save_bundle(models, staged, {})
    assert list(models.iterdir()) == []


@pytest.mark.parametrize("step", ["os.fsync", "Path.replace"])
def test_a_swap_that_fails_leaves_the_old_pointer(
    models: Path, saved: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    set_current(models, "v1")
    monkeypatch.setattr(f"diplophrase.bundle.{step}", fail)
    refuse(
        f"{models / 'CURRENT'} cannot be written: disk full. It is as it was; mend that and "
        f"promote v1 again.",
        set_current,
        models,
        "v1",
    )
    assert (models / "CURRENT").read_bytes() == b"v1\n"
    assert sorted(path.name for path in models.iterdir()) == ["CURRENT", "v1"]
