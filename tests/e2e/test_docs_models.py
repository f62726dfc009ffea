"""docs/models.md: every command in it is run, in its order, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diplophrase.client import Client
from diplophrase.promotions import read_promotions
from serving.keys import create_key
from tests.e2e.server import ROOT, Server, running_server, wait_until
from tests.versions import measured_version, miss

DOCUMENT = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
COMMANDS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for command in block.replace("\\\n", " ").splitlines()
]
[PROGRAM] = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
# a job that trains nothing and lasts until it is ended
WAIT = "import sys, time; print('began', file=sys.stderr, flush=True); time.sleep(3600)"


class Place:
    """A folder with the versions of the document, a server on it, and a shell."""

    def __init__(self, folder: Path, server: Server, key: str) -> None:
        self.folder, self.server, self.key, self.job = folder, server, key, ""

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the document, which must be one that was not run yet."""
        assert command in COMMANDS
        shown = command.replace("127.0.0.1:8000", self.server.url.removeprefix("http://"))
        return subprocess.run(
            ["bash", "-c", shown],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "COLUMNS": "200",
                "KEY": self.key,
                "JOB": self.job,
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def current(self) -> str:
        return (self.folder / "models" / "CURRENT").read_text(encoding="utf-8").strip()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    models = tmp_path / "models"
    measured_version(models, "old")
    measured_version(models, "new")
    (models / "CURRENT").write_text("old\n")
    notes = (ROOT / "labels" / "annotations" / "seeds.jsonl").read_text(encoding="utf-8")
    (tmp_path / "frozen.jsonl").write_text("\n".join(notes.splitlines()[:60]), encoding="utf-8")
    program = tmp_path / "diplophrase"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m diplophrase "$@"\n')
    program.chmod(0o755)
    _, key = create_key(tmp_path / "keys.json", "operator")
    settings = {
        "models": models,
        "keys": tmp_path / "keys.json",
        "model_poll_s": 0.1,
        "deadline_s": 300,
        "job_command": json.dumps([sys.executable, "-c", WAIT]),
    }
    with running_server(**settings) as server:
        yield Place(tmp_path, server, key)


def the(start: str) -> str:
    """Return the one command of the document that is so, or else starts so."""
    if start in COMMANDS:
        return start
    [command] = [command for command in COMMANDS if command.startswith(start)]
    return command


def spoil(models: Path) -> None:
    """Let `new` miss what `old` finds."""
    shutil.rmtree(models / "new")
    measured_version(models, "new", miss("commemoration", 0.3))


def test_every_command_does_what_the_page_says(place: Place) -> None:
    ran: list[str] = []

    def run(start: str) -> subprocess.CompletedProcess[str]:
        ran.append(the(start))
        return place.run(ran[-1])

    done = run("diplophrase models compare old new --data")
    assert "frozen.jsonl: 60 sentences" in done.stdout
    assert "Verdict: pass" in done.stdout
    found = json.loads(run("diplophrase models compare old new --json").stdout)
    assert (found["verdict"], found["reasons"], found["a"], found["b"]) == (
        "pass",
        [],
        "old",
        "new",
    )
    curl = "curl -s -X POST 127.0.0.1:8000/v1/"
    moved = json.loads(run(f"{curl}models/new/promote").stdout)
    assert (moved["model_version"], moved["verdict"], place.current()) == ("new", "pass", "new")
    assert json.loads(run(f"{curl}models/rollback").stdout)["model_version"] == "old"
    assert place.current() == "old"

    spoil(place.folder / "models")
    assert "Verdict: fail" in run("diplophrase models compare old new").stdout
    refused = run("diplophrase models promote new")
    assert refused.returncode == 10
    assert "error: new is not promoted; old stays" in refused.stderr
    with Client(place.server.url) as client:
        assert run("diplophrase models promote new --force").returncode == 0
        wait_until(lambda: client.models().serving == "new", "the service follows")
        assert run("diplophrase models rollback").returncode == 0
        wait_until(lambda: client.models().serving == "old", "the service goes back")
    last = json.loads(run("tail -n 1 models/promotions.jsonl").stdout)
    assert (last["action"], last["from"], last["to"]) == ("rollback", "new", "old")
    [forced] = [row.forced for row in read_promotions(place.folder / "models") if row.forced]
    assert forced == "old was trained before the labels were corrected"

    place.job = json.loads(run(f"{curl}jobs").stdout)["id"]
    listed = json.loads(run("curl -s 127.0.0.1:8000/v1/jobs").stdout)["jobs"]
    assert [job["id"] for job in listed] == [place.job]
    assert json.loads(run("curl -s 127.0.0.1:8000/v1/jobs/$JOB").stdout)["state"] == "running"
    log = "curl -s 127.0.0.1:8000/v1/jobs/$JOB/log"
    wait_until(lambda: "began" in place.run(log).stdout, "the job began")
    run("curl -s -X DELETE")
    wait_until(lambda: client_state(place) == "cancelled", "the job ended")
    assert sorted([*ran, log]) == sorted(COMMANDS)  # none was left out
    run_program(place)


def client_state(place: Place) -> str:
    with Client(place.server.url) as client:
        return client.job(place.job).state


def run_program(place: Place) -> None:
    """Run the program of the page, with the server's address."""
    program = PROGRAM.replace("Client(", f"Client({place.server.url!r}, ")
    exec(compile(program, "docs/models.md", "exec"), {"key": place.key})
    with Client(place.server.url) as client:
        job = client.jobs()[0]
        assert (job.kind, job.options["seed"]) == ("train", 7)
        wait_until(lambda: client.job(job.id).state == "cancelled", "the job ended")
