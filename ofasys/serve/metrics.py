"""Figures for Prometheus, each server's its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from ofasys.serve.service import Service

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """What was asked, how long it took, and how the session does."""

    kind = CONTENT_TYPE_LATEST

    def __init__(self, service: Service) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "ofasys_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ofasys_request_seconds",
            "Seconds from the first byte of a request to the last of its response.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_OfSession(service))

    def seen(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request is over."""
        known = method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH") else "other"
        self.requests.labels(route, known, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)


class _OfSession:
    """What the session counts itself, read when it is asked for."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[Metric]:
        session = self.service.session
        yield GaugeMetricFamily("ofasys_waiting", "Rows that wait for their turn.", session.waiting)
        yield GaugeMetricFamily("ofasys_running", "Rows that are being answered.", session.running)
        yield CounterMetricFamily("ofasys_rows", "Rows that are over: answered, failed or given up.", session.done)
        yield CounterMetricFamily("ofasys_tokens", "Tokens in all answers.", session.tokens)
        yield CounterMetricFamily(
            "ofasys_decoder_deaths", "Processes that died of a file, or took too long.", self.service.decoders.deaths
        )
