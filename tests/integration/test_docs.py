"""Every example in docs/ does what the page says, in the order of the page."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from diplophrase.annotations import read_annotations
from diplophrase.bundle import MANIFEST, PREDICTIONS, current_bundle, save_bundle
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
    sentences, repeated, rate, seconds, found, rounded = (
        float(number.replace(",", ""))
        for number in re.findall(r"\d[\d,]*(?:\.\d+)?", line.replace("(1 - ", "("))
    )
    needed = sentences * (1 - repeated) / (rate * seconds)
    assert found == round(needed, 1)
    assert rounded == -(-needed // 1)


WRONG = ("004-0001", "taiwan_one_china")  # a decision of the hand with which the version differs


@pytest.fixture
def measured(place: Path) -> Path:
    """The folder with the seeds, and with a version that answered for them as the hand did."""
    (place / "seeds").symlink_to(ROOT / "seeds")
    (place / "labels" / "annotations").mkdir(parents=True)
    for name in ("codebook.yaml", "out_of_domain.jsonl", "annotations/seeds.jsonl"):
        shutil.copyfile(ROOT / "labels" / name, place / "labels" / name)
    staged = place / "staged"
    shutil.copytree(current_bundle(ROOT / "models"), staged)
    (staged / MANIFEST).unlink()
    config = json.loads((staged / "config.json").read_text(encoding="utf-8"))
    with (staged / PREDICTIONS).open("w", encoding="utf-8") as file:
        for note in read_annotations(place / "labels" / "annotations" / "seeds.jsonl"):
            scores = {
                label["id"]: 0.97 if label["id"] in note.labels else 0.01
                for label in config["labels"]
            }
            if note.id == WRONG[0]:
                scores[WRONG[1]] = 1 - scores[WRONG[1]]
            row = {"id": note.id, "fold": 0, "gold": note.labels, "given": [], "scores": scores}
            file.write(json.dumps(row) + "\n")
    (place / "models").unlink()
    version = save_bundle(place / "models", staged, {}).version
    (place / "models" / "CURRENT").write_text(f"{version}\n", encoding="utf-8")
    return place


def test_the_page_on_retraining(measured: Path) -> None:
    audits = [content for _, content in blocks("retraining.md") if "bench" not in content]
    shell = ["sh", "-e", "-c", "\n".join(audits)]
    done = subprocess.run(shell, cwd=measured, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{WRONG[0]}: " in done.stdout
    assert "seeds.jsonl: 832 annotations, no fault" in done.stdout
    rows = {
        name: [json.loads(line) for line in (measured / name).read_text("utf-8").splitlines()]
        for name in ("audit.jsonl", "more.jsonl")
    }
    assert {name: len(found) for name, found in rows.items()} == {
        "audit.jsonl": 40,
        "more.jsonl": 200,
    }
    for found in rows.values():
        assert (found[0]["ids"], found[0]["label"]) == ([WRONG[0]], WRONG[1])
    assert [len(row["neighbours"]) for row in rows["audit.jsonl"]] == [3] * 40
    page = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    table = page[page.index("| field |") : page.index("The version is")]
    named = set(re.findall(r"`(\w+)`", table))
    assert named == set(rows["audit.jsonl"][0]) | {"similarity"}


def test_the_experiment_on_added_labels_runs_as_the_page_says(tmp_path: Path) -> None:
    [command] = [text for _, text in blocks("retraining.md") if "bench" in text]
    small = "--authored 30 --epochs 1 --seeds 1 --folds 2 --batch 150"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    program = command.strip().replace("python ", f"{sys.executable} {ROOT}/", 1)
    done = subprocess.run(
        ["sh", "-e", "-c", f"{program} {small} --runs {tmp_path / 'runs'}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    points = json.loads((tmp_path / "retraining.json").read_text(encoding="utf-8"))
    assert {point["chosen_by"] for point in points} == {"queue", "random"}
    assert "labels added to the first half" in (tmp_path / "retraining.svg").read_text("utf-8")
    assert "queue ahead of random, macro_f1, points, by seed: " in done.stdout
    assert "network alone: random " in done.stdout
