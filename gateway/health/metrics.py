"""Prometheus metrics, collected from the plain counters when somebody scrapes; polling never pays for them."""

from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.contract.messages import Health
from gateway.health.delivery import Link, link_metrics, outbox_metrics
from gateway.health.stats import LineStats
from gateway.outbox import OutboxStats

_DEVICE_COUNTERS = {
    "answers": "Requests answered with values",
    "timeouts": "Requests without an answer",
    "exceptions": "Requests refused with an exception code",
    "malformed": "Replies that were no answer to the question",
    "missing": "Channels answered with a sentinel: the device has no value",
    "errors": "Channels answered with what is no value, such as NaN",
    "points": "Points recorded",
}
_LINE_COUNTERS = {
    "connects": "Connections opened",
    "connect_failures": "Connections refused or lost",
    "visits": "Visits to devices",
    "late_visits": "Visits that began more than a period late",
    "busy_s": "Seconds in transactions: the rate of it is the utilisation",
}
_QUEUE_GAUGES = {
    "queue_rows": "Batches that wait for the cloud",
    "queue_bytes": "Bytes that wait for the cloud",
    "parked_rows": "Batches that the cloud refused",
}
_LINE = ("line",)
_DEVICE = ("line", "device")


class GatewayCollector(Collector):
    """Reads the counters of all lines and the last health report."""

    def __init__(self, lines: Callable[[], Sequence[LineStats]]) -> None:
        """`lines` gives the counters of the lines that run now; a scrape asks for them in a thread of its own."""
        self._lines = lines
        self.health: Health | None = None
        self.queue: OutboxStats | None = None
        self.link: Link | None = None

    def collect(self) -> Iterator[Metric]:
        """One family per counter."""
        lines = self._lines()
        devices = [(line.name, device) for line in lines for device in line.devices]
        for name, text in _LINE_COUNTERS.items():
            family = CounterMetricFamily(f"gatemeter_line_{name.replace('busy_s', 'busy_seconds')}", text, labels=_LINE)
            for line in lines:
                family.add_metric([line.name], getattr(line, name))
            yield family
        for name, text in _DEVICE_COUNTERS.items():
            family = CounterMetricFamily(f"gatemeter_device_{name}", text, labels=_DEVICE)
            for line_name, device in devices:
                family.add_metric([line_name, device.device], getattr(device, name))
            yield family
        seen = GaugeMetricFamily("gatemeter_device_last_seen_seconds", "Unix time of the last answer", labels=_DEVICE)
        trip = GaugeMetricFamily("gatemeter_device_round_trip_seconds", "Median of recent answers", labels=_DEVICE)
        for line_name, device in devices:
            seen.add_metric([line_name, device.device], device.last_seen_ms / 1000)
            trip.add_metric([line_name, device.device], device.report().round_trip_us / 1_000_000)
        yield from (seen, trip)
        busy = GaugeMetricFamily("gatemeter_line_utilisation", "Share of recent time in transactions", labels=_LINE)
        for line in lines:
            busy.add_metric([line.name], line.utilisation)
        failing = GaugeMetricFamily(
            "gatemeter_device_failures_in_a_row", "Visits since the last answer", labels=_DEVICE
        )
        for line_name, device in devices:
            failing.add_metric([line_name, device.device], device.failures_in_a_row)
        yield from (busy, failing)
        yield from self._delivery()

    def _delivery(self) -> Iterator[Metric]:
        if self.health is not None:
            for name, text in _QUEUE_GAUGES.items():
                yield GaugeMetricFamily(
                    f"gatemeter_outbox_{name.replace('queue_', '')}", text, getattr(self.health, name)
                )
            if self.queue is not None:
                yield from outbox_metrics(self.queue, self.health.at)
        if self.link is not None:
            yield from link_metrics(self.link)


class MetricsServer:
    """Serves the metrics on 127.0.0.1; port 0 takes a free one. Raises OSError when the port is taken."""

    def __init__(self, collector: GatewayCollector, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(port, "127.0.0.1", registry)
        self.port = self._server.server_port

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
