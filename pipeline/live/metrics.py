"""The streams' counts for Prometheus (prometheus_client, which is imported here only)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .page import Watched

__all__ = ["CONTENT_TYPE", "metrics"]

COUNTS = {
    "arrived": "Frames decoded",
    "frames": "Frames encoded",
    "dropped": "Frames dropped before the networks",
    "reconnects": "Reconnects of the input",
}
GAUGES = {"delay_p50": "Median delay in seconds", "delay_p95": "95th percentile of the delay in seconds"}


class Streams(Collector):
    def __init__(self, watched: Sequence[Watched]) -> None:
        self.watched = watched

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("derain_up", "Whether the stream's pictures come in", labels=["stream"])
        restarts = CounterMetricFamily("derain_restarts", "Restarts of the stream's process", labels=["stream"])
        for w in self.watched:
            up.add_metric([w.spec.name], float(w.healthy))
            restarts.add_metric([w.spec.name], w.restarts)
        yield from (up, restarts)
        states = {w.spec.name: w.state() for w in self.watched}
        for kind, named in ((CounterMetricFamily, COUNTS), (GaugeMetricFamily, GAUGES)):
            for key, text in named.items():
                family = kind(f"derain_{key}", text, labels=["stream"])
                for name, told in states.items():
                    if told:  # a stream that says nothing has no counts: zeros would look as if it had begun anew
                        family.add_metric([name], float(told.get(key, 0)))
                yield family


def metrics(watched: Sequence[Watched]) -> bytes:
    """Everything in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Streams(watched))
    return generate_latest(registry)
