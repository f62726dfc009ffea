"""Several processes on one port: sums, SIGHUP, a worker that dies, and the end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from diplophrase.bundle import set_current
from tests.e2e.server import ROOT, Server, get, running_server, wait_until
from tests.integration.test_swap import TEXT, add_version

WORKERS = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for version in ("old", "new"):
        add_version(folder, version)
    return folder


@pytest.fixture
def service(models: Path) -> Iterator[Server]:
    """Two workers, all up; they look at CURRENT only when they are told to."""
    set_current(models, "old")
    settings = {"models": str(models), "model_poll_s": "3600", "runners": "1"}
    with running_server("--workers", str(WORKERS), **settings) as service:
        wait_until(lambda: figure(service, 'model_info{version="old"}') == WORKERS, "all up")
        yield service


def figure(service: Server, name: str) -> float | None:
    answer = get(f"{service.url}/metrics")
    assert answer is not None
    found = re.search(rf"^diplophrase_{re.escape(name)} (\S+)$", answer.text, re.MULTILINE)
    return float(found[1]) if found else None


def pids(service: Server) -> set[int]:
    """Return the processes that `/metrics` tells of."""
    answer = get(f"{service.url}/metrics")
    assert answer is not None
    found = re.findall(r'^process_resident_memory_bytes\{pid="(\d+)"\} ', answer.text, re.MULTILINE)
    return set(map(int, found))


def ask(service: Server) -> str:
    """Ask on a connection of its own; return the version that answered."""
    answer = httpx.post(f"{service.url}/v1/classify", json={"texts": [TEXT]}, timeout=60)
    assert answer.status_code == 200, answer.text
    version: str = answer.json()["model_version"]
    return version


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Asking:
    """Asks without a pause, on connections that stay open, until the block ends."""

    def __init__(self, service: Server) -> None:
        self.url = f"{service.url}/v1/classify"
        self.answers: list[tuple[int, frozenset[str]]] = []
        self.faults: list[Exception] = []
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(3)]

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._done.is_set():
                try:
                    answer = client.post(self.url, json={"texts": [TEXT] * 3})
                except httpx.HTTPError as error:
                    self.faults.append(error)
                    continue
                rows = answer.json().get("results", [])
                found = frozenset(row["model_version"] for row in rows)
                self.answers.append((answer.status_code, found))

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        wait_until(lambda: self.answers or self.faults, "a first answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()


def test_sighup_swaps_in_all_workers_and_no_request_fails(service: Server, models: Path) -> None:
    before = pids(service)
    assert len(before) == WORKERS
    with Asking(service) as asking:
        set_current(models, "new")
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: figure(service, 'model_info{version="new"}') == WORKERS, "a swap in all")
        assert {ask(service) for _ in range(10)} == {"new"}
    assert asking.faults == []
    assert {status for status, _ in asking.answers} == {200}
    assert {len(versions) for _, versions in asking.answers} == {1}
    assert figure(service, 'model_info{version="old"}') == 0
    assert pids(service) == before  # nobody was restarted
    name = 'requests_total{method="POST",route="/v1/classify",status="200"}'
    wait_until(lambda: figure(service, name) == len(asking.answers) + 10, "a sum over all workers")


def test_a_worker_that_dies_is_started_again_and_sums_stay(service: Server) -> None:
    name = 'requests_total{method="POST",route="/v1/classify",status="200"}'
    for _ in range(20):
        ask(service)
    wait_until(lambda: figure(service, name) == 20, "a sum over all workers")
    assert figure(service, "runners_alive") == WORKERS
    killed, other = sorted(pids(service))
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(pids(service) - {killed}) == WORKERS, "another worker")
    assert other in pids(service)
    wait_until(lambda: figure(service, 'model_info{version="old"}') == WORKERS, "all up")
    assert ask(service) == "old"
    wait_until(lambda: figure(service, name) == 21, "a sum that the dead worker is part of")
    assert f"worker {killed} ended with code -9" in service.log.read_text()


def test_one_worker_goes_on_while_another_cannot_start(service: Server, models: Path) -> None:
    killed, other = sorted(pids(service))
    (models / "CURRENT").write_text("nowhere\n", encoding="utf-8")
    os.kill(killed, signal.SIGKILL)
    wait_until(
        lambda: service.log.read_text().count(" ended with code ") == 2, "a start that fails"
    )
    assert service.process.poll() is None
    assert ask(service) == "old"
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: figure(service, "model_refused") == 1, "a refusal")
    set_current(models, "old")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: figure(service, 'model_info{version="old"}') == WORKERS, "all up")
    wait_until(lambda: figure(service, "model_refused") == 0, "no refusal any more")
    assert other in pids(service)


def test_sigterm_lets_all_workers_answer_and_ends_them(service: Server) -> None:
    workers = pids(service)
    statement = {"text": f"{TEXT} " * 1500}
    answers: list[httpx.Response] = []

    def label() -> None:
        answers.append(httpx.post(f"{service.url}/v1/statements", json=statement, timeout=120))

    asking = [threading.Thread(target=label) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: figure(service, "texts_in_flight"), "texts in flight")
    assert service.stop() == 0
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [pid for pid in workers if lives(pid)] == []
    with pytest.raises(ConnectionRefusedError, match="refused"):
        socket.create_connection(("127.0.0.1", service.port), timeout=10)


def test_workers_end_when_their_supervisor_is_killed(service: Server) -> None:
    workers = pids(service)
    service.process.kill()
    service.process.wait()
    wait_until(lambda: not any(map(lives, workers)), "the end of all workers")
    assert service.log.read_text().count("its supervisor has ended") == WORKERS


def test_a_port_that_is_taken_stops_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        program = [sys.executable, "-c", "from diplophrase.command import main; main()"]
        done = subprocess.run(
            [*program, "serve", "--workers", "2", "--port", str(taken.getsockname()[1])],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 3
    assert "address already in use" in done.stderr.lower()
