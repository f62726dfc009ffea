"""The versions in a folder: names, states and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_bundle import config

from diplophrase.bundle import FILES, load_version, save_bundle, set_current
from diplophrase.errors import BundleError, DiplophraseError
from diplophrase.versions import Version, find_version, read_version, version_paths


def add(models: Path, version: str, metrics: object) -> Path:
    staged = models / f".{version}"
    staged.mkdir(parents=True)
    for name in FILES:
        (staged / name).write_text("content", encoding="utf-8")
    (staged / "config.json").write_text(json.dumps(config(model_version=version)))
    (staged / "metrics.json").write_text(json.dumps(metrics))
    return save_bundle(models, staged, {"created": "2026-11-22"}).path


def test_only_folders_with_the_name_of_a_version_are_listed(tmp_path: Path) -> None:
    for name in ("v2", "v1", ".hidden", "a b", "-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "CURRENT").write_text("v1\n")
    assert [path.name for path in version_paths(tmp_path)] == ["v1", "v2"]
    assert version_paths(tmp_path / "nowhere") == []
    assert find_version(tmp_path, "v2") == tmp_path / "v2"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../v1", "v1/", "/v1", ".hidden", "v1\n", "v1\0", "v9", "CURRENT"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    models = tmp_path / "models"
    for folder in (tmp_path / "v1", models / "v1", models / ".hidden"):
        folder.mkdir(parents=True)
    (models / "CURRENT").write_text("v1\n")
    with pytest.raises(DiplophraseError, match=r"^There is no version '") as caught:
        find_version(models, name)
    assert (caught.value.kind, caught.value.status) == ("not_found", 404)
    with pytest.raises(BundleError, match=r"is no name of a version|is not a folder"):
        load_version(models, name)


@pytest.mark.parametrize(
    ("metrics", "figures"),
    [
        ({}, {}),
        ([], {}),
        ({"cross_validation": None}, {}),
        ({"cross_validation": {"model": {"macro": {"f1": 0.5}}}}, {"macro_f1": 0.5}),
        (
            {"cross_validation": {"speaker_accuracy": 1, "calibration_error": "low"}},
            {"speaker_accuracy": 1.0},
        ),
        ({"cross_validation": {"model": {"exact_match": True}}}, {}),
    ],
)
def test_figures_are_those_that_were_measured(
    tmp_path: Path, metrics: object, figures: dict[str, float]
) -> None:
    path = add(tmp_path, "v1", metrics)
    assert read_version(path) == Version("v1", created="2026-11-22", metrics=figures)


def test_a_version_whose_figures_cannot_be_read_is_broken(tmp_path: Path) -> None:
    staged = tmp_path / ".v1"
    staged.mkdir()
    for name in FILES:
        (staged / name).write_text("content", encoding="utf-8")
    (staged / "config.json").write_text(json.dumps(config()))
    found = read_version(save_bundle(tmp_path, staged, {}).path)
    assert (found.state, found.metrics) == ("broken", {})
    assert str(found.reason).startswith(f"{tmp_path / 'v1'} cannot be read: Expecting value")


def test_a_renamed_version_is_broken_and_does_not_become_current(tmp_path: Path) -> None:
    moved = add(tmp_path, "v1", {}).rename(tmp_path / "v2")
    reason = (
        f"{moved} holds the version 'v1'. Versions are never renamed: give the folder that name "
        f"again."
    )
    assert read_version(moved) == Version("v2", "broken", reason)
    with pytest.raises(BundleError, match="Versions are never renamed"):
        set_current(tmp_path, "v2")
    assert not (tmp_path / "CURRENT").exists()
