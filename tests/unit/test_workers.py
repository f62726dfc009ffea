"""When a worker stops itself, and the figures that workers share."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving import workers as module
from serving.metrics import FOLDER_VARIABLE, Metrics
from serving.workers import tend

WORKER = """
import sys
from pathlib import Path
from serving.metrics import Metrics

number = int(sys.argv[2])
metrics = Metrics(Path(sys.argv[1]))
for _ in range(number):
    metrics.requested(route="/v1/labels", method="GET", status=200, seconds=0.2)
metrics.watch(waiting=lambda: 0, in_flight=lambda: number, runners=lambda: 2)
metrics.refresh()
metrics.model_in_use("v1", ["support"])
metrics.model_in_use(f"v{number}", ["support"])
metrics.model_refused(number == 3)
try:
    with metrics.loading():
        assert number != 3
except AssertionError:
    pass
print("up", flush=True)
sys.stdin.readline()
print(metrics.render().decode())
"""


def test_whichever_worker_is_asked_answers_for_all(tmp_path: Path) -> None:
    environment = os.environ | {FOLDER_VARIABLE: str(tmp_path)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (2, 3)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
    told = [worker.communicate("\n", timeout=60)[0] for worker in workers]
    for text in told:
        lines = set(text.splitlines())
        expected = {
            'diplophrase_requests_total{method="GET",route="/v1/labels",status="200"} 5.0',
            'diplophrase_request_seconds_bucket{le="0.25",route="/v1/labels"} 5.0',
            'diplophrase_request_seconds_count{route="/v1/labels"} 5.0',
            "diplophrase_texts_in_flight 5.0",
            "diplophrase_runners_alive 4.0",
            'diplophrase_model_info{version="v1"} 0.0',
            'diplophrase_model_info{version="v2"} 1.0',
            'diplophrase_model_info{version="v3"} 1.0',
            "diplophrase_model_refused 1.0",
            "diplophrase_model_last_load_ok 0.0",
            'diplophrase_labels_given_total{label="support"} 0.0',
        }
        assert expected - lines == set()
    pids = re.findall(r'^process_open_fds\{pid="(\d+)"\}', told[0], re.MULTILINE)
    assert sorted(map(int, pids)) == sorted(worker.pid for worker in workers)


@dataclass
class Looks:
    """An engine that is ready for some looks."""

    left: int

    @property
    def ready(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.mark.parametrize(
    ("looks", "supervisor", "reason"),
    [
        (3, os.getppid(), "this worker stops: a runner has ended"),
        (3, -1, "this worker stops: its supervisor has ended"),
    ],
)
def test_a_worker_that_cannot_go_on_stops_itself(
    looks: int,
    supervisor: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(module.signal, "raise_signal", raised.append)
    monkeypatch.setattr(module, "_TEND_S", 0)
    engine: Any = Looks(looks)
    asyncio.run(tend(engine, metrics=Metrics(), supervisor=supervisor))
    assert raised == [signal.SIGTERM]
    assert reason in caplog.text
    assert engine.left == (-1 if supervisor > 0 else looks - 1)
