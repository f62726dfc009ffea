"""What the repository holds, as git knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGEST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no clone")
    return [Path(name) for name in listed.stdout.split("\0") if name]


def test_models_holds_the_current_version_and_nothing_of_a_training(tracked: list[Path]) -> None:
    current = (ROOT / "models" / "CURRENT").read_text(encoding="utf-8").strip()
    held = {path.parts[1] for path in tracked if path.parts[0] == "models"}
    assert held - {"README.md", ".gitignore"} == {"CURRENT", current}


def test_no_file_is_large(tracked: list[Path]) -> None:
    sizes = {path: (ROOT / path).stat().st_size for path in tracked}
    assert [path for path, size in sizes.items() if size > LARGEST_BYTES] == []
