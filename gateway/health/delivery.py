"""Metrics of the way to the cloud: what waits in the outbox, what was lost, and how the link is."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from gateway.health.observed import Link
from gateway.outbox import OutboxStats, Shed
from gateway.uplink.uplink import LinkState

_COUNTERS = {
    "sessions": "Sessions with the broker",
    "sent": "Batches sent for the first time",
    "resent": "Batches sent again",
    "accepted": "Batches that the cloud has stored",
    "rejected": "Batches that the cloud refused",
    "foreign_acks": "Acknowledgements for another outbox file",
    "malformed": "Messages from the cloud that break the contract",
}


def link_metrics(link: Link) -> Iterator[Metric]:
    """The state as one gauge per state, of which one is 1; the counters since the start."""
    state = GaugeMetricFamily("gatemeter_link_state", "1 for the state that the uplink is in", labels=["state"])
    for one in LinkState:
        state.add_metric([one.value], float(link.state is one))
    yield state
    for name, text in _COUNTERS.items():
        yield CounterMetricFamily(f"gatemeter_link_{name}", text, getattr(link.counters, name))


def outbox_metrics(stats: OutboxStats, now_ms: int) -> Iterator[Metric]:
    """Rows by class, age, room and losses, as they were when the outbox was last asked."""
    rows = GaugeMetricFamily("gatemeter_outbox_class_rows", "Batches that wait, by shed class", labels=["shed"])
    lost = CounterMetricFamily("gatemeter_outbox_lost_batches", "Batches given up", labels=["shed"])
    items = CounterMetricFamily("gatemeter_outbox_lost_items", "Points and other items given up", labels=["shed"])
    for shed in Shed:
        name = shed.name.lower()
        rows.add_metric([name], stats.queued.get(shed, 0))
        loss = stats.dropped.get(shed)
        lost.add_metric([name], 0 if loss is None else loss.batches)
        items.add_metric([name], 0 if loss is None else loss.items)
    yield from (rows, lost, items)
    age = max(0, now_ms - stats.oldest) / 1000 if stats.oldest else 0.0
    yield GaugeMetricFamily("gatemeter_outbox_oldest_seconds", "Age of the oldest batch that waits", age)
    yield GaugeMetricFamily("gatemeter_outbox_shedding", "1 while diagnostics are not recorded", float(stats.shedding))
    yield GaugeMetricFamily("gatemeter_outbox_damaged_files", "Damaged files set aside", stats.damaged_files)
