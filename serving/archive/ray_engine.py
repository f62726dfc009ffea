"""Scoring on a Ray cluster: one task reads, actors score, this process writes.

Parts, manifest and bytes are those of the local engine. An actor or node that dies is replaced by
Ray and its part scored again, which gives the same rows. Nothing but this package has to be on the
nodes: the model travels with the job.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving import require

require("diplophrase score --engine ray", "ray", "ray")

import pyarrow as pa  # noqa: E402
import ray  # noqa: E402
import ray.data  # noqa: E402
from ray import cloudpickle  # noqa: E402
from ray.data.block import BlockMetadata  # noqa: E402

from diplophrase.bundle import Bundle  # noqa: E402
from diplophrase.classifier import Classifier  # noqa: E402
from serving.archive.columns import Columns  # noqa: E402
from serving.archive.layout import Layout  # noqa: E402
from serving.archive.parts import Part, cut_parts  # noqa: E402
from serving.archive.read import Files, take  # noqa: E402
from serving.archive.scorer import Scored, Scorer  # noqa: E402

_ONE = 1  # bytes: below any part, so that each part is a block and goes to whichever actor is free


@dataclass(frozen=True)
class Job:
    """What the nodes are told."""

    source: Files
    layout: Layout
    columns: Columns
    bundle: Bundle
    done: frozenset[int]  # parts that need no scoring

    def parts(self) -> Iterator[Part]:
        """Read the input and yield the parts that are not done."""
        options = self.layout.options
        for part in cut_parts(take(self.source.rows(), options.limit), options):
            if part.number not in self.done:
                yield part


class PartSource(ray.data.Datasource):  # type: ignore[misc]
    """The parts as a data set: one row, and one block, a part."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def get_read_tasks(self, parallelism: int, *_: Any, **__: Any) -> list[ray.data.ReadTask]:
        """Return the one task that reads: parts are cut from the start of the input on."""
        job = self._job

        def read() -> Iterable[pa.Table]:
            for part in job.parts():
                yield _packed(part)

        return [ray.data.ReadTask(read, BlockMetadata(None, None, None))]

    def estimate_inmemory_data_size(self) -> int | None:
        """Return None: the size is not known before reading."""
        return None


class PartScorer:
    """An actor with the model loaded."""

    def __init__(self, job: Job, bundle: list[ray.ObjectRef[dict[str, bytes]]]) -> None:
        """Load the model, whose files lie in the cluster's store at the one reference given.

        In a list, so that the store keeps it as long as the driver does: an actor that is started
        again needs it once more.
        """
        files = ray.get(bundle[0])
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            classifier = Classifier.load(folder)
        self._scorer = Scorer(classifier, job.layout, job.columns)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score the one part of a batch."""
        [packed] = batch.column("part").to_pylist()
        return _packed(self._scorer.score(cloudpickle.loads(packed)))


def _packed(item: Part | Scored) -> pa.Table:
    return pa.table({"part": pa.array([cloudpickle.dumps(item)], pa.large_binary())})


def score_on_ray(
    job: Job, *, address: str | None = None, workers: int | None = None
) -> Iterator[Scored]:
    """Yield the scored parts in whatever order they come.

    `address` names a cluster; without it, and without a connection that stands already, one is
    started on this machine and ended afterwards. `workers` actors of one processor each are used,
    by default all processors of the cluster.

    Raises:
        MissingExtra: if Ray is not installed.
    """
    files = {path.name: path.read_bytes() for path in job.bundle.path.iterdir()}
    with _connected(address):
        bundle = ray.put(files)
        actors = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        context = ray.data.DataContext.get_current()
        before = context.target_max_block_size, context.enable_progress_bars
        context.target_max_block_size, context.enable_progress_bars = _ONE, False
        try:
            parts = ray.data.read_datasource(PartSource(job), num_cpus=0, override_num_blocks=1)
            scored = parts.map_batches(
                PartScorer,
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_cpus=1,
                fn_constructor_args=(job, [bundle]),
            )
            for row in scored.iter_rows():
                yield cloudpickle.loads(row["part"])
        finally:
            context.target_max_block_size, context.enable_progress_bars = before


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Use the connection that stands, or make one for as long as it is needed."""
    if ray.is_initialized():
        yield
        return
    ray.init(
        address=address,
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level="WARNING",
    )
    try:
        yield
    finally:
        ray.shutdown()
