"""Metrics and the health report tell what the counters hold."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from gateway.contract.codec import decode_health, encode_body
from gateway.contract.messages import Health
from gateway.contract.topics import Up
from gateway.drivers.base import Reading, ReadOutcome
from gateway.health.metrics import GatewayCollector
from gateway.health.observed import Queue
from gateway.health.report import HealthReporter
from gateway.health.stats import DeviceStats, LineStats
from gateway.outbox import Loss, Outbox, OutboxStats, Shed
from tests.unit.gateway.health.gateway import lines, observed, visited


def scraped(queue: Queue) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(GatewayCollector(observed(), queue))
    return registry


def test_visits_are_counted_by_what_they_gave() -> None:
    report = visited().report()
    assert (report.answers, report.timeouts, report.exceptions, report.malformed) == (2, 1, 1, 1)
    assert report.last_seen == 8_000
    assert report.round_trip_us == 200


def test_failures_in_a_row_end_with_any_answer() -> None:
    stats = DeviceStats("m")
    stats.count(ReadOutcome(timeouts=1), 1)
    stats.count(ReadOutcome(malformed=1), 2)
    assert stats.failures_in_a_row == 2
    stats.count(ReadOutcome(exceptions=1), 3)
    assert stats.failures_in_a_row == 0


def test_utilisation_is_of_the_last_stretch() -> None:
    line = LineStats("l-1", [])
    shown = []
    for busy, now in ((2.0, 100.0), (4.0, 105.0), (6.0, 110.0), (6.0, 119.9), (6.0, 120.0), (18.0, 131.0)):
        line.count_time(busy, now)
        shown.append(round(line.utilisation, 3))
    assert shown == [0, 0, 0.4, 0.4, 0, 1]
    assert line.busy_s == 18


def test_the_last_error_stays_for_people_to_read() -> None:
    stats = DeviceStats("m")
    stats.count(ReadOutcome(timeouts=1, error="no answer"), 1)
    stats.count(ReadOutcome([(2, [])]), 2)
    assert stats.last_error == "no answer"


def test_the_last_value_of_each_channel_outlives_failed_and_partial_visits() -> None:
    stats = DeviceStats("m")
    first = [Reading("volume_total", 1, 0), Reading("flow", 2, 0)]
    stats.count(ReadOutcome([(1_000, first), (1_001, [Reading("pressure", 3, 0)])]), 1_001)
    stats.count(ReadOutcome([(2_000, [Reading("flow", 4, 0)])], timeouts=1), 2_000)
    stats.count(ReadOutcome(timeouts=1), 3_000)
    latest = {channel: (taken_at, reading.value) for channel, (taken_at, reading) in stats.latest().items()}
    assert latest == {"volume_total": (1_000, 1), "pressure": (1_001, 3), "flow": (2_000, 4)}


def test_a_scrape_shows_lines_devices_queue_link_and_commands() -> None:
    registry = scraped(Queue(OutboxStats(7, 8_000, 0, 9)))
    text = generate_latest(registry).decode()
    for line in (
        'gatemeter_line_visits_total{line="l-1"} 4.0',
        'gatemeter_line_busy_seconds_total{line="l-1"} 1.5',
        'gatemeter_line_connected{line="l-1"} 1.0',
        'gatemeter_line_utilisation{line="l-1"} 0.25',
        'gatemeter_device_failures_in_a_row{device="m-1",line="l-1"} 0.0',
        'gatemeter_line_connected{line="push"} 0.0',
        'gatemeter_device_timeouts_total{device="m-1",line="l-1"} 1.0',
        'gatemeter_device_missing_total{device="m-1",line="l-1"} 2.0',
        'gatemeter_device_last_seen_timestamp_seconds{device="m-1",line="l-1"} 8.0',
        'gatemeter_device_round_trip_seconds{device="m-1",line="l-1"} 0.0002',
        "gatemeter_outbox_rows 7.0",
        "gatemeter_outbox_bytes 8000.0",
        "gatemeter_outbox_oldest_seconds 0.0",
        "gatemeter_outbox_parked_rows 9.0",
        'gatemeter_link_state{state="online"} 1.0',
        'gatemeter_link_state{state="waiting"} 0.0',
        "gatemeter_link_accepted_total 17.0",
        'gatemeter_commands_total{outcome="refused"} 1.0',
        'gatemeter_intake_unknown_total{line="push"} 5.0',
        "gatemeter_gateway_recorded_points_total 1234.0",
        "gatemeter_gateway_clock_ahead_seconds 540.5",
    ):
        assert line in text.splitlines()


def test_prometheus_own_parsers_read_it_and_every_family_has_help_and_a_prefix() -> None:
    registry = scraped(Queue(OutboxStats(7, 8, 1_000, 9)))
    plain = list(text_string_to_metric_families(generate_latest(registry).decode()))
    # Refuses clashes and wrong suffixes.
    strict = list(parse_openmetrics(generate_openmetrics(registry).decode()))  # type: ignore[no-untyped-call]
    for families in (plain, strict):
        assert len(families) > 30
        assert all(family.name.startswith("gatemeter_") and family.documentation for family in families)
    age = next(family for family in plain if family.name == "gatemeter_outbox_oldest_seconds")
    assert age.samples[0].value > 1_000_000_000


def test_there_are_no_more_series_than_lines_and_devices() -> None:
    families = list(scraped(Queue()).collect())
    for family in families:
        labels = {tuple(sorted(sample.labels.items())) for sample in family.samples}
        lined = {labels for labels in labels if any(name == "line" for name, _ in labels)}
        assert len(lined) <= sum(len(line.devices) for line in lines()) + len(lines())
    assert not any(family.name == "gatemeter_outbox_rows" for family in families)  # not known yet, so not said


def test_the_report_fits_the_contract() -> None:
    report = Health(1_700_000_000_000, "0", 1, 7, 8, 0, 9, (DeviceStats("m-1").report(),))
    assert decode_health(encode_body([report])) == report


def test_a_scrape_shows_what_was_lost() -> None:
    stats = OutboxStats(
        7, 8, 1_000, 9,
        dropped={Shed.DIAGNOSTICS: Loss(3, 600, 4_000, 1, 2)}, queued={Shed.BILLING: 7}, shedding=True, damaged_files=1,
    )  # fmt: skip
    text = generate_latest(scraped(Queue(stats))).decode()
    for line in (
        'gatemeter_outbox_class_rows{shed="billing"} 7.0',
        'gatemeter_outbox_lost_batches_total{shed="diagnostics"} 3.0',
        'gatemeter_outbox_lost_items_total{shed="diagnostics"} 600.0',
        "gatemeter_outbox_shedding 1.0",
        "gatemeter_outbox_damaged_files 1.0",
    ):
        assert line in text.splitlines()


async def test_a_report_tells_losses_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database" * 1_000)
    outbox = Outbox.open(path, 1_200)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    reporter = HealthReporter(list, outbox, lambda: 1_700_000_000_000, 60)
    report = await reporter.report()
    assert (report.lost_batches, report.set_aside) == (1, 1)
    outbox.close()
