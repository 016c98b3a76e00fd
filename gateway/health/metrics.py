"""Prometheus metrics, collected from the plain counters when somebody scrapes; polling never pays for them.

Labels are names of the site file: as many series as there are lines and devices, however many strangers knock.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.contract import __version__
from gateway.health.delivery import link_metrics, outbox_metrics
from gateway.health.observed import Observed, Queue
from gateway.health.stats import LineStats
from gateway.outbox.outbox import wall_clock_ms

_DEVICE_COUNTERS: Final = {
    "answers": "Requests answered with values",
    "timeouts": "Requests without an answer",
    "exceptions": "Requests refused with an exception code",
    "malformed": "Replies that were no answer to the question",
    "missing": "Channels answered with a sentinel: the device has no value",
    "errors": "Channels answered with what is no value, such as NaN",
    "points": "Points recorded",
}
_LINE_COUNTERS: Final = {
    "connects": "Connections opened",
    "connect_failures": "Connections refused or lost",
    "visits": "Visits to devices",
    "late_visits": "Visits that began more than a period late",
    "busy_s": "Seconds in transactions: the rate of it is the utilisation",
}
_INTAKE_COUNTERS: Final = {
    "unknown": "Messages and records of devices that the line does not have",
    "malformed": "Messages that no device could be blamed for",
    "duplicates": "Points that came again in another message",
    "refused_times": "Samples whose time nobody knows",
    "stale": "Observations that fell silent",
}
_LINE: Final = ("line",)
_DEVICE: Final = ("line", "device")


class GatewayCollector(Collector):
    """Reads the counters of all parts; a scrape asks in a thread of its own."""

    def __init__(self, observed: Observed, queue: Queue) -> None:
        self._observed, self._queue = observed, queue

    def collect(self) -> Iterator[Metric]:
        """One family per counter."""
        lines = self._observed.lines()
        yield from self._gateway()
        yield from _counters("line", _LINE_COUNTERS, _LINE, [((line.name,), line) for line in lines])
        yield from self._line_gauges(lines)
        devices = [((line.name, device.device), device) for line in lines for device in line.devices]
        yield from _counters("device", _DEVICE_COUNTERS, _DEVICE, devices)
        yield from self._device_gauges(lines)
        pushed = [((line.name,), line.intake) for line in lines if line.intake is not None]
        if pushed:
            yield from _counters("intake", _INTAKE_COUNTERS, _LINE, pushed)
        yield from link_metrics(self._observed.uplink)
        yield from self._commands()
        yield from self._outbox()

    def _gateway(self) -> Iterator[Metric]:
        observed = self._observed
        names = {"project": observed.project, "gateway": observed.gateway, "version": __version__}
        yield InfoMetricFamily("gatemeter_gateway", "Who this is", names)
        yield GaugeMetricFamily("gatemeter_gateway_start_time_seconds", "Unix time of the start", observed.started)
        yield CounterMetricFamily("gatemeter_gateway_recorded_points", "Points made durable", observed.recorded())
        ahead_ms = observed.clock_ahead_ms()
        if ahead_ms is not None:
            text = "How far the clock here is ahead of the cloud's"
            yield GaugeMetricFamily("gatemeter_gateway_clock_ahead_seconds", text, ahead_ms / 1000)

    def _line_gauges(self, lines: Sequence[LineStats]) -> Iterator[Metric]:
        connected = GaugeMetricFamily("gatemeter_line_connected", "Whether the line can be used now", labels=_LINE)
        busy = GaugeMetricFamily("gatemeter_line_utilisation", "Share of recent time in transactions", labels=_LINE)
        for line in lines:
            connected.add_metric([line.name], line.connected)
            busy.add_metric([line.name], line.utilisation)
        yield from (connected, busy)

    def _device_gauges(self, lines: Sequence[LineStats]) -> Iterator[Metric]:
        seen = GaugeMetricFamily(
            "gatemeter_device_last_seen_timestamp_seconds", "Unix time of the last answer, 0 before one", labels=_DEVICE
        )
        trip = GaugeMetricFamily("gatemeter_device_round_trip_seconds", "Median of recent answers", labels=_DEVICE)
        failed = GaugeMetricFamily(
            "gatemeter_device_failures_in_a_row", "Failed visits since the last answer", labels=_DEVICE
        )
        for line in lines:
            for device in line.devices:
                labels = [line.name, device.device]
                seen.add_metric(labels, device.last_seen_ms / 1000)
                trip.add_metric(labels, device.round_trip_us() / 1_000_000)
                failed.add_metric(labels, device.failures_in_a_row)
        yield from (seen, trip, failed)

    def _commands(self) -> Iterator[Metric]:
        counters = self._observed.uplink.command_counters
        commands = CounterMetricFamily(
            "gatemeter_commands", "Commands of the cloud by what became of them", labels=["outcome"]
        )
        for outcome in ("executed", "refused", "repeated", "malformed", "not_understood"):
            commands.add_metric([outcome], getattr(counters, outcome))
        yield commands

    def _outbox(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "gatemeter_outbox_limit_bytes", "Bytes that may wait for the cloud", self._observed.queue_limit_bytes
        )
        stats = self._queue.stats
        if stats is None:
            return
        yield GaugeMetricFamily("gatemeter_outbox_rows", "Batches that wait for the cloud", stats.rows)
        yield GaugeMetricFamily("gatemeter_outbox_bytes", "Bytes that wait for the cloud", stats.bytes)
        yield GaugeMetricFamily("gatemeter_outbox_parked_rows", "Batches that the cloud refused", stats.parked)
        yield from outbox_metrics(stats, wall_clock_ms())


def _counters(
    part: str, texts: dict[str, str], labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Any]]
) -> Iterator[Metric]:
    """A family for each of `texts`: attributes of the second item of each row."""
    told = list(rows)
    for name, text in texts.items():
        family = CounterMetricFamily(f"gatemeter_{part}_{name.replace('busy_s', 'busy_seconds')}", text, labels=labels)
        for values, counters in told:
            family.add_metric(values, getattr(counters, name))
        yield family
