"""Every example in docs/ of scoring does what the page says, in the order of the page."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from serving.archive.layout import make_layout
from serving.archive.options import Options
from tests.integration.conftest import ROOT

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the kind and content of each fenced block of a page."""
    return _BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models and the command, as the pages assume."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    command = tmp_path / "bin" / "diplophrase"
    command.parent.mkdir()
    program = "from diplophrase.command import main; main()"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_page(page: str, place: Path) -> list[tuple[str, str]]:
    """Run the blocks of a page; return what each prints, and what it says it prints."""
    pairs, printed = [], ""
    for kind, content in blocks(page):
        if kind == "sh":
            shell = ["sh", "-e", "-c", content]
            done = subprocess.run(shell, cwd=place, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        elif kind == "python":
            with redirect_stdout(io.StringIO()) as shown:
                exec(compile(content, page, "exec"), {})
            printed = shown.getvalue()
        elif kind in ("json", "text"):
            pairs.append((printed, content))
    return pairs


@pytest.mark.filterwarnings("ignore")
def test_the_page_on_archives(place: Path) -> None:
    for printed, shown in run_page("archives.md", place):
        assert printed == shown
    assert pq.read_table(place / "labelled.parquet").num_rows == 3
    assert (place / "documents.csv").read_text(encoding="utf-8").count("\n") == 2
    assert (place / "sentences.csv").read_text(encoding="utf-8").count("\n") == 4
    assert (place / "from_python.jsonl").read_text(encoding="utf-8").count("\n") == 3


def test_the_table_of_columns_is_the_layout(classifier) -> None:
    page = (ROOT / "docs" / "archives.md").read_text(encoding="utf-8")
    names = make_layout(classifier, Options()).result
    shown = {name for name in names if not name.startswith("score_")} | {"score_LABEL"}
    table = page[page.index("| column |") : page.index("In CSV lists")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == shown


@pytest.mark.filterwarnings("ignore")
def test_the_page_on_scaling(place: Path) -> None:
    run_page("scaling.md", place)
    assert (place / "many.jsonl").read_text(encoding="utf-8").count("\n") == 40


def test_the_worked_example_adds_up() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    [line] = [each for each in page.splitlines() if each.strip().startswith("100,000,000 ×")]
    sentences, repeated, rate, seconds, share, found, rounded = (
        float(number.replace(",", ""))
        for number in re.findall(r"\d[\d,]*(?:\.\d+)?", line.replace("(1 - ", "("))
    )
    needed = sentences * (1 - repeated) / (rate * seconds * share)
    assert found == round(needed, 1)
    assert rounded == -(-needed // 1)
