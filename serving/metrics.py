"""What the service counts and times, in the form that Prometheus reads from `GET /metrics`.

Times are seconds. Every value of a metric's label comes from a closed set (route templates,
known methods, ids of the codebook), so a stranger's requests cannot make the answer grow.

Several workers share a folder, where each keeps its figures in files (prometheus_client's
multiprocess mode): whichever is asked answers for all. Counters and histograms are sums over the
workers, those that have ended included; gauges are sums over those that live and up to a second
old, but for `model_last_load_ok` (the least) and `model_refused` (the greatest); the figures of
the processes come one by one, by `pid`.

To wire it in: `add_metrics(app, metrics)` gives the address, `Observe` of `serving.logs` counts
requests, and the engine calls `loading`, `model_in_use`, `watch`, `tokenised`, `batch_ran` and
`labels_given` where those things happen. All may be called from any thread.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client as it is imported

_Over = Literal["livesum", "livemin", "livemax"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


class Metrics:
    """The counters of one application, in a registry of their own.

    With a `folder`, which `FOLDER_VARIABLE` must name since before the program began, they are
    shared with every process that has the same one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.registry = CollectorRegistry()
        self.folder = folder
        self._version: str | None = None
        self._watched: dict[Gauge, Callable[[], int]] = {}
        if folder is None:
            ProcessCollector(registry=self.registry)  # memory, processor time, open files
        self._make_request_metrics()
        self._make_batch_metrics()
        self._make_model_metrics()

    def _make_request_metrics(self) -> None:
        self._requests = Counter(
            "diplophrase_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._total = self._seconds("request", "From a request's arrival to its answer.", "route")
        self._tokenise = self._seconds("tokenise", "Tokenising the texts of one request.")

    def _make_batch_metrics(self) -> None:
        self._queue = self._seconds("queue", "A text's wait before its batch ran.")
        self._inference = self._seconds("inference", "One batch in the network.")
        self._batch_texts = Histogram(
            "diplophrase_batch_texts", "Texts in a batch.", buckets=_TEXTS, registry=self.registry
        )
        self._batch_tokens = Histogram(
            "diplophrase_batch_padded_tokens",
            "Tokens in a batch, padding included.",
            buckets=_TOKENS,
            registry=self.registry,
        )
        self._waiting = self._gauge("queue_depth", "Texts that wait for a batch.")
        self._in_flight = self._gauge("texts_in_flight", "Texts waiting or running.")
        self._runners = self._gauge("runners_alive", "Threads that run batches.")

    def _make_model_metrics(self) -> None:
        self._labels = Counter(
            "diplophrase_labels_given", "Labels given.", ("label",), registry=self.registry
        )
        self._model = Gauge(
            "diplophrase_model_info",
            "The model that answers, with the number of processes in which it does.",
            ("version",),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._load_failures = Counter(
            "diplophrase_model_load_failures", "Models not loaded.", registry=self.registry
        )
        self._last_load_ok = self._gauge(
            "model_last_load_ok",
            "1 if the last model that was to be loaded was, otherwise 0.",
            over="livemin",
        )
        self._refused = self._gauge(
            "model_refused",
            "1 while CURRENT names a model that was refused, otherwise 0.",
            over="livemax",
        )

    def _seconds(self, name: str, meaning: str, *labels: str) -> Histogram:
        return Histogram(
            f"diplophrase_{name}_seconds",
            meaning,
            labels,
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _gauge(self, name: str, meaning: str, *, over: _Over = "livesum") -> Gauge:
        return Gauge(f"diplophrase_{name}", meaning, registry=self.registry, multiprocess_mode=over)

    def requested(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that was answered `seconds` after it arrived; `route` is a template."""
        self._requests.labels(route, method, status).inc()
        self._total.labels(route).observe(seconds)

    def tokenised(self, seconds: float) -> None:
        """Note how long the texts of one request took to tokenise."""
        self._tokenise.observe(seconds)

    def batch_ran(
        self, *, waits_s: Sequence[float], padded_tokens: int, inference_s: float
    ) -> None:
        """Note a batch: each text's wait and the network's time, in seconds; rows times width."""
        for wait_s in waits_s:
            self._queue.observe(wait_s)
        self._batch_texts.observe(len(waits_s))
        self._batch_tokens.observe(padded_tokens)
        self._inference.observe(inference_s)

    def labels_given(self, ids: Iterable[str]) -> None:
        """Count the labels of some results; an id that occurs twice counts twice."""
        for label, times in Tally(ids).items():
            self._labels.labels(label).inc(times)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Note whether a model could be loaded and warmed up inside the `with`."""
        try:
            yield
        except Exception:
            self._load_failures.inc()
            self._last_load_ok.set(0)
            raise
        self._last_load_ok.set(1)

    def model_in_use(self, version: str, label_ids: Iterable[str]) -> None:
        """Name the version that answers from now on; its labels start to show, at zero."""
        if self.folder is None:
            self._model.clear()
        elif self._version is not None:  # a file forgets nothing
            self._model.labels(self._version).set(0)
        self._model.labels(version).set(1)
        self._version = version
        for label in label_ids:
            self._labels.labels(label)

    def model_refused(self, refused: bool) -> None:
        """Note whether CURRENT names a model that was refused."""
        self._refused.set(refused)

    def watch(
        self,
        *,
        waiting: Callable[[], int],
        in_flight: Callable[[], int],
        runners: Callable[[], int],
    ) -> None:
        """Read these numbers at each scrape; the last engine given is the one read."""
        self._watched = {
            self._waiting: waiting,
            self._in_flight: in_flight,
            self._runners: runners,
        }
        if self.folder is None:
            for gauge, read in self._watched.items():
                gauge.set_function(read)

    def refresh(self) -> None:
        """Write the numbers that are watched into the folder, for the other processes to read."""
        for gauge, read in self._watched.items():
            gauge.set(read())

    def render(self) -> bytes:
        """Return all figures in Prometheus's text format."""
        if self.folder is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self.folder))  # type: ignore[no-untyped-call]
        together.register(_Processes(self.folder))
        return generate_latest(together)


class _Processes(Collector):
    """Memory, processor time and open files of each process that shares a folder and lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def collect(self) -> Iterable[Metric]:
        found: dict[str, Metric] = {}
        for file in sorted(self.folder.glob("gauge_livesum_*.db")):
            pid = file.stem.rpartition("_")[2]
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                family = found.setdefault(
                    metric.name, Metric(metric.name, metric.documentation, metric.type)
                )
                for sample in metric.samples:
                    family.add_sample(sample.name, {"pid": pid}, sample.value)
        return found.values()


def add_metrics(app: FastAPI, metrics: Metrics) -> None:
    """Answer `GET /metrics`; in a thread of its own, so that the event loop stays free."""

    @app.get("/metrics", response_class=PlainTextResponse, summary="Figures for Prometheus")
    def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)
