"""The state of a running gateway as one document: what `/status` serves and `gatemeter gateway monitor` shows.

Built in the thread of whoever asks, from counters that are replaced as a whole or copied in one step.
"""

from dataclasses import asdict
from time import time
from typing import Any

from gateway.contract import __version__
from gateway.health.observed import Observed, Queue
from gateway.health.stats import DeviceStats, LineStats
from gateway.health.vitals import Vitals
from gateway.shown import quality_words, shown_value


def status(observed: Observed, queue: Queue, vitals: Vitals) -> dict[str, Any]:
    """Plain values only. Times are Unix milliseconds, values of channels decimal text in their display unit."""
    now = time()
    return {
        "project": observed.project,
        "gateway": observed.gateway,
        "software": __version__,
        "at": round(now * 1000),
        "uptime_s": round(now - observed.started),
        "clock_ahead_ms": observed.clock_ahead_ms(),
        "problems": vitals.problems(),
        "uplink": {"state": observed.uplink.state.value, **asdict(observed.uplink.counters)},
        "commands": asdict(observed.uplink.command_counters),
        "outbox": _outbox(observed, queue, now),
        "lines": [_line(line) for line in observed.lines()],
        "barriers": [
            {"device": one.device, "last_seen": one.last_seen, "answers": one.answers, "malformed": one.malformed}
            for one in observed.barriers()
        ],
    }


def _outbox(observed: Observed, queue: Queue, now: float) -> dict[str, Any]:
    stats = queue.stats
    recorded = {"recorded": observed.recorded(), "limit_bytes": observed.queue_limit_bytes}
    if stats is None:
        return recorded
    age_s = max(0, round(now - stats.oldest / 1000)) if stats.oldest else 0
    lost = sum(loss.batches for loss in stats.dropped.values())
    return {
        **recorded,
        "rows": stats.rows,
        "bytes": stats.bytes,
        "oldest": stats.oldest,
        "age_s": age_s,
        "parked": stats.parked,
        "lost": lost,
    }


def _line(line: LineStats) -> dict[str, Any]:
    shown = {
        "line": line.name,
        "connected": line.connected,
        "utilisation": round(line.utilisation, 4),
        "busy_s": round(line.busy_s, 3),
        "visits": line.visits,
        "late_visits": line.late_visits,
        "connects": line.connects,
        "connect_failures": line.connect_failures,
        "devices": [_device(device) for device in line.devices],
    }
    return shown if line.intake is None else {**shown, "intake": asdict(line.intake)}


def _device(device: DeviceStats) -> dict[str, Any]:
    return {
        "device": device.device,
        "last_seen": device.last_seen_ms,
        "failures_in_a_row": device.failures_in_a_row,
        "last_error": device.last_error,
        "round_trip_us": device.round_trip_us(),
        "answers": device.answers,
        "timeouts": device.timeouts,
        "exceptions": device.exceptions,
        "malformed": device.malformed,
        "missing": device.missing,
        "points": device.points,
        "values": [_value(channel, *latest) for channel, latest in sorted(device.latest().items())],
    }


def _value(channel: str, taken_at: int, reading: Any) -> dict[str, Any]:
    text, unit = shown_value(channel, reading.value)
    return {
        "channel": channel,
        "value": text,
        "unit": unit,
        "taken_at": taken_at,
        "quality": quality_words(reading.quality),
    }
