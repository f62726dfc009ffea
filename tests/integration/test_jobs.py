"""Jobs over HTTP, their work done by small programs in the place of a training."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from diplophrase.settings import Settings
from serving.app import create_app
from serving.jobs import board as boards
from serving.jobs import kinds
from serving.jobs.board import JobBoard
from serving.jobs.state import JobFolder, Process
from serving.keys import create_key
from tests.versions import ROOT

PATIENCE_S = 60
TELL = "import json, sys; print('table'); print(json.dumps(sys.argv[1:])); print('v42')"
FAIL = "import sys; print('began', file=sys.stderr); sys.exit('error: no such seed')"
# waits until the file `go` lies in its working folder
WAIT = """
import pathlib, sys, time
print('waiting', file=sys.stderr, flush=True)
while not pathlib.Path({go!r}).exists():
    time.sleep(0.02)
print('v43')
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"


def wait_until(happened: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < ends, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


class Jobs:
    """A service whose jobs run a program, and what it answers."""

    def __init__(self, client: TestClient, settings: Settings) -> None:
        self.client, self.settings = client, settings

    def ask(self, method: str, path: str = "", body: Any = None) -> tuple[int, dict[str, Any]]:
        answer = self.client.request(method, f"/v1/jobs{path}", json=body)
        found = answer.json()
        return answer.status_code, found if answer.status_code == 200 else found["error"]

    def start(self, **options: Any) -> dict[str, Any]:
        status, job = self.ask("POST", body={"kind": "train", "options": options})
        assert status == 200, job
        return job

    def state(self, job: dict[str, Any]) -> str:
        state: str = self.ask("GET", f"/{job['id']}")[1]["state"]
        return state

    def end(self, job: dict[str, Any]) -> dict[str, Any]:
        """Wait until a job has ended and return it."""
        wait_until(lambda: self.state(job) not in ("running", "cancelling"), "it ended")
        return self.ask("GET", f"/{job['id']}")[1]

    def log(self, job: dict[str, Any]) -> str:
        return self.client.get(f"/v1/jobs/{job['id']}/log").text

    def folder(self, job: dict[str, Any]) -> JobFolder:
        return JobFolder(self.settings.jobs_folder / job["id"])


@contextmanager
def service(folder: Path, program: str, **settings: Any) -> Iterator[Jobs]:
    keys = folder / "keys.json"
    _, secret = create_key(keys, "operator")
    chosen = Settings(
        models=ROOT / "models",
        keys=keys,
        jobs=folder / "jobs",
        job_command=[sys.executable, "-c", program],
        **settings,
    )
    with TestClient(create_app(chosen), raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield Jobs(client, chosen)


@pytest.fixture
def go(tmp_path: Path) -> Path:
    return tmp_path / "go"


@pytest.fixture
def waiting(tmp_path: Path, go: Path) -> Iterator[Jobs]:
    """A service whose jobs wait for the file `go`, which is there at the end."""
    with service(tmp_path, WAIT.format(go=str(go))) as jobs:
        yield jobs
        go.touch()
        for job in jobs.ask("GET")[1]["jobs"]:
            jobs.end(job)


def test_a_training_gives_a_version_and_keeps_what_was_asked(tmp_path: Path) -> None:
    with service(tmp_path, TELL) as jobs:
        options = {"fast": True, "folds": 3, "seed": 5, "epochs": 2, "name": "mine"}
        job = jobs.start(**options)
        assert (job["kind"], job["options"], job["result"]) == ("train", options, None)
        ended = jobs.end(job)
        assert (ended["state"], ended["exit_code"], ended["error"]) == ("done", 0, None)
        assert ended["result"] == {"model_version": "v42"}
        assert ended["by"].endswith(" operator")
        assert ended["created"] < ended["ended"]
        output = jobs.folder(job).output.read_text(encoding="utf-8").splitlines()
        assert json.loads(output[1]) == [
            "train",
            "--fast",
            f"--models={ROOT / 'models'}",
            "--labels=labels",
            "--seeds=seeds",
            f"--progress={jobs.settings.jobs_folder.resolve() / job['id'] / 'progress.json'}",
            "--folds=3",
            "--seed=5",
            "--epochs=2",
            "--name=mine",
        ]
        assert jobs.ask("GET")[1]["jobs"] == [ended]


def test_a_training_that_fails_says_why(tmp_path: Path) -> None:
    with service(tmp_path, FAIL) as jobs:
        job = jobs.start()
        ended = jobs.end(job)
        assert (ended["state"], ended["exit_code"]) == ("failed", 1)
        assert (ended["error"], ended["result"]) == ("no such seed", None)
        assert jobs.log(job) == "began\nerror: no such seed\n"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with service(tmp_path, TELL) as jobs:
        board = JobBoard(jobs.settings.model_copy(update={"job_command": ["/no/such"]}))
        job = board.start("train", {"fast": False}, by="me")
        ended = jobs.end({"id": job.id})
        assert ended["state"] == "failed"
        assert ended["error"] == "/no/such cannot be run: No such file or directory."


def test_one_runs_at_a_time_in_whichever_process(waiting: Jobs, go: Path) -> None:
    job = waiting.start()
    status, error = waiting.ask("POST", body={"kind": "train"})
    assert (status, error["kind"]) == (409, "conflict")
    assert f"The job {job['id']} is running" in error["message"]
    other = JobBoard(waiting.settings)  # as another worker of the service has
    assert other.get(job["id"]).state == "running"
    with pytest.raises(Exception, match=f"The job {job['id']} is running"):
        other.start("train", {"fast": False}, by="me")
    assert len(waiting.ask("GET")[1]["jobs"]) == 1
    go.touch()
    assert waiting.end(job)["result"] == {"model_version": "v43"}
    second = waiting.start()
    waiting.end(second)
    assert [row["id"] for row in waiting.ask("GET")[1]["jobs"]] == [second["id"], job["id"]]


def test_progress_is_what_the_work_wrote_last(waiting: Jobs) -> None:
    job = waiting.start()
    assert job["progress"] is None
    found = {"fraction": 0.25, "stage": "fold 1 of 4", "step": 7, "of": 7}
    waiting.folder(job).progress.write_text(json.dumps(found), encoding="utf-8")
    assert waiting.ask("GET", f"/{job['id']}")[1]["progress"] == found


def test_a_job_that_is_cancelled_ends(waiting: Jobs) -> None:
    job = waiting.start()
    wait_until(lambda: "waiting" in waiting.log(job), "the work began")
    status, told = waiting.ask("DELETE", f"/{job['id']}")
    assert status == 200
    assert told["state"] in ("cancelling", "cancelled")
    ended = waiting.end(job)
    assert (ended["state"], ended["exit_code"], ended["result"]) == ("cancelled", -15, None)
    assert waiting.ask("DELETE", f"/{job['id']}") == (200, ended)


def test_a_job_cancelled_at_once_never_begins_or_ends(waiting: Jobs) -> None:
    job = waiting.start()
    waiting.ask("DELETE", f"/{job['id']}")
    assert waiting.end(job)["state"] == "cancelled"


def test_work_that_does_not_listen_is_made_to_end(tmp_path: Path, go: Path) -> None:
    with service(tmp_path, DEAF + WAIT.format(go=str(go)), job_grace_s=0.1) as jobs:
        job = jobs.start()
        wait_until(lambda: "waiting" in jobs.log(job), "the work began")
        jobs.ask("DELETE", f"/{job['id']}")
        ended = jobs.end(job)
        assert (ended["state"], ended["exit_code"]) == ("cancelled", -9)


def kill_all(job: JobFolder) -> None:
    keeper = job.read().keeper
    assert keeper is not None
    os.killpg(keeper.pid, signal.SIGKILL)


def test_a_job_whose_processes_are_gone_says_so(waiting: Jobs) -> None:
    job = waiting.start()
    wait_until(lambda: "waiting" in waiting.log(job), "the work began")
    kill_all(waiting.folder(job))
    ended = waiting.end(job)
    assert ended["state"] == "lost"
    assert ended["error"].startswith("Its process ended without saying how")
    waiting.ask("DELETE", f"/{waiting.start()['id']}")  # another may start


def test_work_whose_keeper_was_killed_still_counts_and_can_be_ended(waiting: Jobs) -> None:
    job = waiting.start()
    folder = waiting.folder(job)
    wait_until(lambda: folder.read().worker is not None, "the work began")
    keeper, worker = folder.read().keeper, folder.read().worker
    assert keeper is not None
    assert worker is not None
    os.kill(keeper.pid, signal.SIGKILL)
    wait_until(lambda: not keeper.lives(), "the keeper is gone")
    assert waiting.state(job) == "running"
    assert waiting.ask("POST", body={"kind": "train"})[0] == 409
    waiting.ask("DELETE", f"/{job['id']}")
    assert waiting.end(job)["state"] == "cancelled"
    assert not worker.lives()


def test_a_process_is_told_from_a_later_one_with_its_id() -> None:
    own = Process.of(os.getpid())
    assert own.lives()
    assert not own.model_copy(update={"started": "earlier 1"}).lives()
    assert not Process.of(2**22 + 1).lives()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "bake"}, "kind"),
        ({"kind": "train", "options": {"folds": 21}}, "options.folds"),
        ({"kind": "train", "options": {"epochs": 0}}, "options.epochs"),
        ({"kind": "train", "options": {"name": "../x"}}, "options.name"),
        ({"kind": "train", "options": {"base": "/etc"}}, "options.base"),
        ({"kind": "train", "options": {"fast": "yes"}}, "options.fast"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(
    waiting: Jobs, body: dict[str, Any], field: str
) -> None:
    status, error = waiting.ask("POST", body=body)
    assert status == 422
    assert [detail["field"] for detail in error["details"]] == [field]
    assert not waiting.settings.jobs_folder.exists()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("job_id", ["none", "..", "20260101-000000-00000000", "%2e%2e", ".lock"])
def test_a_job_that_is_not_there(waiting: Jobs, method: str, job_id: str) -> None:
    status, error = waiting.ask(method, f"/{job_id}")
    assert (status, error["kind"]) in ((404, "not_found"), (405, "method_not_allowed"))
    assert waiting.ask("GET", "/none/log")[0] == 404


def test_starting_and_ending_need_a_key_and_looking_does_not(waiting: Jobs) -> None:
    job = waiting.start()
    del waiting.client.headers["Authorization"]
    assert waiting.ask("POST", body={"kind": "train"})[0] == 401
    assert waiting.ask("DELETE", f"/{job['id']}")[0] == 401
    assert waiting.state(job) == "running"


def test_a_service_that_cannot_train_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(tmp_path, TELL) as jobs:
        board = JobBoard(jobs.settings.model_copy(update={"job_command": []}))
        monkeypatch.setattr(kinds, "find_spec", lambda name: None if name == "torch" else name)
        with pytest.raises(Exception, match=r"needs the package torch.*diplophrase\[train\]"):
            board.start("train", {"fast": False}, by="me")
        assert not jobs.settings.jobs_folder.exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    with service(tmp_path, TELL) as jobs:
        status, error = jobs.ask("POST", body={"kind": "train"})
        assert (status, error["kind"]) == (507, "storage")
        assert error["message"].startswith(f"No job was started: {tmp_path / 'jobs'}: ")


def test_the_oldest_jobs_are_forgotten(waiting: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "MOST_JOBS", 2)
    board = JobBoard(waiting.settings.model_copy(update={"job_command": ["true"]}))
    kept: list[str] = []
    for _ in range(3):
        job = board.start("train", {"fast": False}, by="me")
        wait_until(lambda key=job.id: board.get(key).state == "done", "it ended")  # type: ignore[misc]
        kept.append(job.id)
    assert [job.id for job in board.read_all()] == kept[:0:-1]


def test_a_log_is_given_from_the_start_of_a_line(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path)
    folder.log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert folder.tail(folder.log, most_bytes=20) == "line 98\nline 99\n"
    assert folder.tail(tmp_path / "nothing", most_bytes=20) == ""
