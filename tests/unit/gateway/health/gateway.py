"""A gateway's counters without a gateway."""

from dataclasses import dataclass, field

from gateway.contract.messages import DeviceHealth
from gateway.drivers.base import Reading, ReadOutcome
from gateway.health.observed import Observed
from gateway.health.stats import DeviceStats, IntakeCounters, LineStats
from gateway.uplink.commands import CommandCounters
from gateway.uplink.session import LinkCounters
from gateway.uplink.uplink import LinkState


@dataclass
class Link:
    """An uplink that stands still."""

    state: LinkState = LinkState.ONLINE
    counters: LinkCounters = field(default_factory=lambda: LinkCounters(sessions=2, accepted=17))
    command_counters: CommandCounters = field(default_factory=lambda: CommandCounters(executed=3, refused=1))


def visited(device: str = "m-1") -> DeviceStats:
    """A meter that answered, was silent, answered nonsense and answered in part."""
    stats = DeviceStats(device)
    readings = [Reading("volume_total", 12_345_678, 0), Reading("flow", 1_500_000, 4)]
    stats.count(ReadOutcome([(5_000, readings)], missing=2, round_trips_us=[300]), 5_000)
    stats.count(ReadOutcome(timeouts=1), 6_000)
    stats.count(ReadOutcome(malformed=1), 7_000)
    stats.count(ReadOutcome([(8_000, [])], exceptions=1, round_trips_us=[100, 200]), 8_000)
    return stats


def lines() -> list[LineStats]:
    """A polled line and one that is pushed to."""
    polled = LineStats("l-1", [visited()], connects=1, visits=4, busy_s=1.5, utilisation=0.25, connected=True)
    return [polled, LineStats("push", [DeviceStats("b-1")], intake=IntakeCounters(unknown=5, duplicates=2))]


def observed(found: list[LineStats] | None = None) -> Observed:
    """All of it."""
    shown = lines() if found is None else found
    barrier = DeviceHealth("lane-in", 9_000, 3, 0, 0, 1, 40)
    return Observed(
        "demo",
        "gw-1",
        lambda: shown,
        lambda: [barrier],
        Link(),
        lambda: 1_234,
        1_000_000,
        lambda: 540_500,
        started=1_000.0,
    )
