"""The same job on Ray's own local cluster gives the same bytes, a killed actor or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import diplophrase
from serving.archive import ray_engine
from tests.e2e.kills import make_archive
from tests.integration.conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of sockets and deprecations

OPTIONS: dict[str, Any] = {"models": ROOT / "models", "part_rows": 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes of one processor each, on this machine."""
    from ray.cluster_utils import Cluster

    packages = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", packages)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        nodes.add_node(num_cpus=1)
        try:
            yield nodes.address
        finally:
            nodes.shutdown()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "in.jsonl"
    make_archive(path, 160, seed=2)
    return path


def outputs(path: Path) -> list[bytes]:
    endings = ("", ".rejected.jsonl", ".manifest.json")
    return [Path(f"{path}{ending}").read_bytes() for ending in endings]


def test_two_nodes_give_the_bytes_of_the_local_engine(
    cluster: str, archive: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here.parquet", tmp_path / "there.parquet"
    diplophrase.score(archive, here, **OPTIONS)
    counts = diplophrase.score(archive, there, engine="ray", address=cluster, workers=2, **OPTIONS)
    assert (counts.rows, counts.scored) == (160, 153)
    assert outputs(here) == outputs(there)


def test_a_killed_actor_costs_nothing_but_time(
    cluster: str, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    diplophrase.score(archive, here, **OPTIONS)
    killed = tmp_path / "killed"

    class Dying(ray_engine.PartScorer):
        def __call__(self, batch: Any) -> Any:
            answer = super().__call__(batch)
            if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

    monkeypatch.setattr(ray_engine, "PartScorer", Dying)
    diplophrase.score(archive, there, engine="ray", address=cluster, workers=2, **OPTIONS)
    assert killed.exists()
    assert outputs(here) == outputs(there)
