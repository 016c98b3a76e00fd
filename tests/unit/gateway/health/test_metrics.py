"""Metrics and the health report tell what the counters hold."""

from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from gateway.contract.codec import decode_health, encode_body
from gateway.contract.messages import Health
from gateway.contract.topics import Up
from gateway.drivers.base import Reading, ReadOutcome
from gateway.health.metrics import GatewayCollector
from gateway.health.report import HealthReporter
from gateway.health.stats import DeviceStats, LineStats
from gateway.outbox import Loss, Outbox, OutboxStats, Shed
from gateway.uplink.session import LinkCounters
from gateway.uplink.uplink import LinkState


def visited() -> DeviceStats:
    stats = DeviceStats("m-1")
    stats.count(ReadOutcome([(5_000, [Reading("flow", 1, 0)])], missing=2, round_trips_us=[300]), 5_000)
    stats.count(ReadOutcome(timeouts=1), 6_000)
    stats.count(ReadOutcome(malformed=1), 7_000)
    stats.count(ReadOutcome([(8_000, [])], exceptions=1, round_trips_us=[100, 200]), 8_000)
    return stats


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


def test_a_scrape_shows_lines_devices_and_queue() -> None:
    collector = GatewayCollector(lambda: [LineStats("l-1", [visited()], visits=4, busy_s=1.5, utilisation=0.25)])
    collector.health = Health(1_700_000_000_000, "0", 1, 7, 8, 0, 9)
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    for line in (
        'gatemeter_line_visits_total{line="l-1"} 4.0',
        'gatemeter_line_busy_seconds_total{line="l-1"} 1.5',
        'gatemeter_device_timeouts_total{device="m-1",line="l-1"} 1.0',
        'gatemeter_device_missing_total{device="m-1",line="l-1"} 2.0',
        'gatemeter_line_utilisation{line="l-1"} 0.25',
        'gatemeter_device_failures_in_a_row{device="m-1",line="l-1"} 0.0',
        'gatemeter_device_last_seen_seconds{device="m-1",line="l-1"} 8.0',
        "gatemeter_outbox_rows 7.0",
        "gatemeter_outbox_parked_rows 9.0",
    ):
        assert line in text


def test_the_report_fits_the_contract() -> None:
    report = Health(1_700_000_000_000, "0", 1, 7, 8, 0, 9, (DeviceStats("m-1").report(),))
    assert decode_health(encode_body([report])) == report


def test_a_scrape_shows_the_link_and_what_was_lost() -> None:
    class Broken:
        state = LinkState.WAITING
        counters = LinkCounters(sessions=2, resent=5)

    collector = GatewayCollector(list)
    collector.link = Broken()
    collector.health = Health(1_700_000_060_000, "0", 1, 7, 8, 1_700_000_000_000, 9)
    collector.queue = OutboxStats(
        7, 8, 1_700_000_000_000, 9,
        dropped={Shed.DIAGNOSTICS: Loss(3, 600, 4_000, 1, 2)}, queued={Shed.BILLING: 7}, shedding=True, damaged_files=1,
    )  # fmt: skip
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    for line in (
        'gatemeter_link_state{state="waiting"} 1.0',
        'gatemeter_link_state{state="online"} 0.0',
        "gatemeter_link_sessions_total 2.0",
        "gatemeter_link_resent_total 5.0",
        'gatemeter_outbox_class_rows{shed="billing"} 7.0',
        'gatemeter_outbox_lost_batches_total{shed="diagnostics"} 3.0',
        'gatemeter_outbox_lost_items_total{shed="diagnostics"} 600.0',
        "gatemeter_outbox_oldest_seconds 60.0",
        "gatemeter_outbox_shedding 1.0",
        "gatemeter_outbox_damaged_files 1.0",
    ):
        assert line in text


async def test_a_report_tells_losses_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database" * 1_000)
    outbox = Outbox.open(path, 1_200)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    await outbox.put(Up.PASSAGES, b"[]" + b" " * 400)
    reporter = HealthReporter(list, outbox, GatewayCollector(list), lambda: 1_700_000_000_000, 60)
    report = await reporter.report()
    assert (report.lost_batches, report.set_aside) == (1, 1)
    outbox.close()
