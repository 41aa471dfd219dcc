"""What is counted and timed of requests, in the text format of Prometheus; in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from flows.app.served import Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one server."""

    def __init__(self, served: Served, waiting: Callable[[], int], held: Callable[[], int]) -> None:
        """waiting(): how many rows wait for the model now; held(): how many requests have no answer yet."""
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter("winnow_requests", "Requests by path and status", ["path", "status"],
                                 registry=registry)  # fmt: skip
        self._seconds = Histogram("winnow_request_seconds", "From a request's head to the end of its answer", ["path"],
                                  buckets=SECONDS, registry=registry)  # fmt: skip
        self._rows = Counter("winnow_rows", "Rows that were answered", registry=registry)
        self._batches = Histogram("winnow_batch_rows", "Rows that were answered together", buckets=ROWS,
                                  registry=registry)  # fmt: skip
        Gauge("winnow_rows_waiting", "Rows that wait for the model", registry=registry).set_function(waiting)
        Gauge("winnow_requests_held", "Requests that have no answer yet", registry=registry).set_function(held)
        about = Gauge("winnow_model_info", "1, for the model that answers", ["model", "task", "manifest"],
                      registry=registry)  # fmt: skip
        about.labels(served.name, served.task, served.manifest).set(1)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is one that the server has, as each further one would take memory for good."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, rows: int) -> None:
        """Count a batch."""
        self._batches.observe(rows)

    def answered(self, rows: int) -> None:
        """Count rows that have their answers."""
        self._rows.inc(rows)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
