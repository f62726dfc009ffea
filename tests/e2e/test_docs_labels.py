"""What docs/labels.md shows is run, block by block, against a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from diplophrase.annotations import check_annotations, data_hash
from diplophrase.codebook import load_codebook
from diplophrase.review import MIX
from tests.e2e.server import ROOT, Server, running_server
from tests.integration.store_fixtures import make_labels

PAGE = (ROOT / "docs" / "labels.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and labels, and `diplophrase` on its path."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "models").symlink_to(ROOT / "models")
    make_labels(folder / "labels", "seeds.jsonl", "authored.jsonl")
    (folder / "bin").mkdir()
    command = folder / "bin" / "diplophrase"
    program = "from diplophrase.command import main; main()"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{program}" "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    labels = folder / "labels"
    with running_server(labels=labels, keys=folder / "keys.json") as server:
        yield server


@pytest.fixture(scope="module")
def printed(folder: Path, server: Server) -> list[tuple[str, str]]:
    """What each block prints on stdout and stderr, run one after the other."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    said = []
    for block in BLOCKS:
        script = block.replace("127.0.0.1:8000", server.url.removeprefix("http://"))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        said.append((done.stdout, done.stderr))
    return said


def test_each_block_does_what_the_page_says(printed: list[tuple[str, str]], folder: Path) -> None:
    imported, asked, history, conflicts, settled, exported, studio, review = printed
    assert json.loads(imported[0]) == {"added": 3, "changed": 0, "unchanged": 0}
    assert '{"added": 3, "changed": 0, "unchanged": 0}' in PAGE
    added, found = asked[0].replace("}{", "}\n{").splitlines()
    assert [claim["by"] for claim in json.loads(added)["conflicts"][0]["claims"]] == ["ada", "bea"]
    assert [row["annotation"]["annotator"] for row in json.loads(found)["annotations"]] == ["ada"]
    told, *listed = history[0].replace("}2", "}\n2").splitlines()
    assert [event["annotator"] for event in json.loads(told)["events"]] == ["ada", "bea"]
    assert [line.split()[1] for line in listed] == ["ada", "bea"]
    assert conflicts[0].splitlines()[0] == "The two trade ministers opened a new railway."
    assert settled[1].endswith("1 annotation(s) taken back.\n")
    digests = exported[0].split()
    assert len(set(digests)) == 1
    assert len(digests) == 3
    notes = check_annotations(
        folder / "labels" / "annotations" / "added.jsonl",
        load_codebook(folder / "labels" / "codebook.yaml"),
    )
    assert (len(notes), data_hash(notes)) == (3, digests[0])
    assert json.loads(studio[0].splitlines()[1])["unchanged"] == 3
    first, second, served = review[0].splitlines()
    suggested = [item["text"] for item in json.loads(served)["suggestions"]]
    assert suggested == [json.loads(line)["text"] for line in (first, second)]


def test_the_weights_shown_are_those_in_force() -> None:
    shown = re.findall(r"^\| `(\w+)` \| (0\.\d+) \|", PAGE, re.MULTILINE)
    assert {name: float(weight) for name, weight in shown} == asdict(MIX)
