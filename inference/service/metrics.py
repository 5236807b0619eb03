"""What a service tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
OUTCOMES = ("ok", "invalid", "unauthorized", "full", "timeout", "disconnected", "closing", "failed")
"""How a request for images may end."""


class ServiceMetrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "vesalius_requests", "Requests for images, by outcome", ["outcome"], registry=self._registry
        )
        for outcome in OUTCOMES:  # a count that is there from the start can be told from one that is missing
            self._requests.labels(outcome)
        self._images = Counter("vesalius_images", "Images drawn", registry=self._registry)
        self._waiting = Histogram(
            "vesalius_wait_seconds", "Seconds that an image waited", buckets=SECONDS, registry=self._registry
        )
        self._drawing = Histogram(
            "vesalius_draw_seconds", "Seconds that a batch was drawn", buckets=SECONDS, registry=self._registry
        )
        self._queue = Gauge("vesalius_queue_images", "Images that wait", registry=self._registry)

    def watch(self, num_waiting: Callable[[], int]) -> None:
        """Ask for the length of the queue whenever the metrics are read."""
        self._queue.set_function(num_waiting)

    def ended(self, outcome: str) -> None:
        """A request for images has ended."""
        assert outcome in OUTCOMES
        self._requests.labels(outcome).inc()

    def began(self, waited: Sequence[float]) -> None:
        for seconds in waited:
            self._waiting.observe(seconds)

    def drew(self, num: int, seconds: float) -> None:
        self._images.inc(num)
        self._drawing.observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)
