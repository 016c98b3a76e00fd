"""Points from the wire into `store.reading`: routed to meters in columns, stored set by set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloud.devices import service as devices
from cloud.devices.inbox import UnclaimedPlace
from cloud.devices.records import Binding, InboxFilter
from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.live import batches as live_batches
from cloud.metering.readings.storing import Ints, Rows, store_rows
from cloud.metering.records import StoreResult
from cloud.metering.validation.thresholds import CLOCK_AHEAD_S
from gateway.contract.messages import Point, Quality
from gateway.contract.quantities import BY_CODE

_UNCLAIMED_KEY = ("gateway_code", "device_code", "channel_code", "taken_at", "value")

_KEY_SHIFT = 43
"""Times up to the year 2248 in milliseconds fit below it, a million devices above."""


@dataclass(frozen=True, slots=True)
class PointColumns:
    """The points of one message: each names its (device, channel) by position in `series`."""

    series: list[tuple[str, str]]
    which: Ints
    taken_ms: Ints
    values: Ints
    qualities: Ints


@dataclass(frozen=True, slots=True)
class Batch:
    """The points of one message and who sent it when; `received_ms` for each point where they came at several times."""

    project_id: int
    gateway_id: int
    gateway_code: str
    received_ms: int | Ints
    points: PointColumns


def to_columns(points: Sequence[Point]) -> PointColumns:
    """Turns decoded points into columns."""
    series: dict[tuple[str, str], int] = {}
    which = [series.setdefault((point.device, point.channel), len(series)) for point in points]
    return PointColumns(
        list(series),
        np.array(which, np.int64),
        np.array([point.taken_at for point in points], np.int64),
        np.array([point.value for point in points], np.int64),
        np.array([point.quality for point in points], np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Merged:
    """The points of a group of batches in the order they came, over one common list of series."""

    series: list[tuple[int, str, str]]
    """(gateway id, device code, channel code)."""
    which: Ints
    taken_ms: Ints
    values: Ints
    qualities: Ints
    received_ms: Ints
    senders: dict[int, tuple[int, str]]
    """(project id, gateway code) by gateway id."""


@dataclass(frozen=True, slots=True)
class _Routed:
    """Where each point goes: a meter, or a reason why not."""

    meters: Ints
    channels: Ints
    devices: Ints
    projects: Ints
    clock: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Claimed:
    """How many readings were tried and how many have a place now; `place`: where to go on, None at the end."""

    tried: int
    placed: int
    place: UnclaimedPlace | None


async def store_points(conn: Conn, batches: Sequence[Batch], *, expect_new: bool = False) -> StoreResult:
    """Stores the points of a group of batches with one statement per table.

    The gateways must have been resolved in this transaction (`devices.service.resolve_gateways`). A point goes to
    the meter that its device carried when it was taken; without one, or with an unknown channel or an impossible time,
    it waits in `unclaimed_reading`. Points flagged DEVICE_ERROR carry no value and are only counted. `expect_new` is a
    guess that makes it quicker (see `store_rows`).
    """
    result = StoreResult()
    if not batches:
        return result
    merged = _merge(batches)
    routed = await _route(conn, merged)
    result.seen_ms = _seen(merged, routed)
    usable = (merged.qualities & Quality.DEVICE_ERROR) == 0
    result.unusable = int(np.count_nonzero(~usable))
    placed = usable & ~routed.clock & (routed.meters > 0) & (routed.channels > 0)
    await _store(conn, merged, routed, np.flatnonzero(placed), result, expect_new=expect_new)
    astray = np.flatnonzero(usable & ~placed)
    if len(astray):
        result.unclaimed = await devices.keep_unclaimed(conn, _astray_columns(merged, routed, astray))
    return result


def _merge(batches: Sequence[Batch]) -> _Merged:
    series: dict[tuple[int, str, str], int] = {}
    which = []
    for batch in batches:
        places = [series.setdefault((batch.gateway_id, *names), len(series)) for names in batch.points.series]
        which.append(np.array(places, np.int64)[batch.points.which])
    return _Merged(
        list(series),
        np.concatenate(which),
        np.concatenate([batch.points.taken_ms for batch in batches]),
        np.concatenate([batch.points.values for batch in batches]),
        np.concatenate([batch.points.qualities for batch in batches]),
        np.concatenate([np.broadcast_to(batch.received_ms, len(batch.points.which)) for batch in batches]),
        {batch.gateway_id: (batch.project_id, batch.gateway_code) for batch in batches},
    )


async def _route(conn: Conn, merged: _Merged) -> _Routed:
    keys: dict[tuple[int, str], int] = {}
    key_of_series = np.array([keys.setdefault((g, d), len(keys)) for g, d, _ in merged.series], np.int64)
    bindings = await devices.bindings_of(conn, list(keys))
    device_of_key = np.zeros(len(keys), np.int64)
    for binding in bindings:
        device_of_key[binding.key] = binding.device_id
    projects = np.array([merged.senders[gateway_id][0] for gateway_id, _, _ in merged.series], np.int64)
    channels = np.array([BY_CODE[c].number if c in BY_CODE else 0 for _, _, c in merged.series], np.int64)
    key = key_of_series[merged.which]
    meters = _meters_at(key, merged.taken_ms, bindings)
    return _Routed(
        meters=meters,
        channels=channels[merged.which],
        devices=device_of_key[key],
        projects=projects[merged.which],
        clock=merged.taken_ms > merged.received_ms + await _allowed_ahead_ms(conn, merged, meters),
    )


async def _allowed_ahead_ms(conn: Conn, merged: _Merged, meters: Ints) -> Ints:
    """How far ahead of its receipt each point may be stamped: as its meter's thresholds say (V2)."""
    allowed = np.full(len(meters), CLOCK_AHEAD_S * 1000)
    # Nearly no point is ahead at all: only then it matters whose it is.
    early = np.flatnonzero((merged.taken_ms > merged.received_ms) & (meters > 0))
    if len(early):
        ids, where = np.unique(meters[early], return_inverse=True)
        thresholds = await load_thresholds(conn, ids.tolist())
        allowed[early] = np.array([thresholds[one].clock_ahead_s * 1000 for one in ids.tolist()], np.int64)[where]
    return allowed


def _meters_at(key: Ints, taken_ms: Ints, bindings: Sequence[Binding]) -> Ints:
    """The meter bound to each point's device when it was taken, 0 without one."""
    bound = sorted((b.key, max(b.from_ms, 0), min(b.until_ms, 2**42), b.meter_id) for b in bindings if b.meter_id)
    if not bound:
        return np.zeros(len(key), np.int64)
    keys, starts, ends, meters = (np.array(column, np.int64) for column in zip(*bound, strict=True))
    at = np.searchsorted((keys << _KEY_SHIFT) + starts, (key << _KEY_SHIFT) + taken_ms, "right") - 1
    found = (at >= 0) & (keys[at] == key) & (taken_ms < ends[at])
    return np.where(found, meters[at], 0)


def _seen(merged: _Merged, routed: _Routed) -> dict[int, int]:
    """When each device was heard of last; whoever stores the points notes it with what else is heard of devices."""
    known = np.flatnonzero((routed.devices > 0) & ~routed.clock)
    ids, where = np.unique(routed.devices[known], return_inverse=True)
    newest = np.zeros(len(ids), np.int64)
    np.maximum.at(newest, where, merged.taken_ms[known])
    return dict(zip(ids.tolist(), newest.tolist(), strict=True))


async def _store(
    conn: Conn, merged: _Merged, routed: _Routed, placed: Ints, result: StoreResult, *, expect_new: bool
) -> None:
    if not len(placed):
        return
    rows = Rows(
        routed.meters[placed],
        routed.channels[placed],
        merged.taken_ms[placed],
        merged.values[placed],
        merged.qualities[placed],
        routed.projects[placed],
    )
    outcome = await store_rows(conn, rows, expect_new=expect_new)
    result.stored = int(np.count_nonzero(outcome.stored))
    if result.stored:
        await live_batches.add(conn, rows.at(outcome.stored))
    result.revised = outcome.new_revisions
    result.repeated = len(placed) - result.stored - result.revised


def _astray_columns(merged: _Merged, routed: _Routed, astray: Ints) -> dict[str, list[object]]:
    names = [merged.series[n] for n in merged.which[astray].tolist()]
    reasons = np.select(
        [routed.clock[astray], routed.devices[astray] == 0, routed.channels[astray] == 0],
        ["clock", "unknown-device", "unknown-channel"],
        "unbound",
    )
    return {
        "projects": routed.projects[astray].tolist(),
        "gateways": [merged.senders[gateway_id][1] for gateway_id, _, _ in names],
        "devices": [device for _, device, _ in names],
        "channels": [channel for _, _, channel in names],
        "taken_ms": merged.taken_ms[astray].tolist(),
        "values": merged.values[astray].tolist(),
        "qualities": merged.qualities[astray].tolist(),
        "reasons": reasons.tolist(),
        "received_ms": merged.received_ms[astray].tolist(),
    }


async def claim_readings(conn: Conn, wanted: InboxFilter, after: UnclaimedPlace, limit: int) -> Claimed:
    """Tries up to `limit` unclaimed readings of a project behind `after` again, in this transaction.

    Those that have a place now go into `store.reading`, the others are kept as before, with the time of their first
    receipt. Where somebody told that a clock was ahead, the time is corrected and the reading flagged.
    """
    assert wanted.project_id is not None, "claiming goes project by project"
    rows = await devices.take_unclaimed(conn, wanted, after, limit)
    if not rows:
        return Claimed(0, 0, None)
    rows.sort(key=lambda row: tuple(row[name] for name in _UNCLAIMED_KEY))
    codes = {row["gateway_code"] for row in rows}
    gateways = await devices.resolve_gateways(conn, {(wanted.project_id, code) for code in codes})
    batches = []
    for code in sorted(codes):
        mine = [row for row in rows if row["gateway_code"] == code]
        points = to_columns([_point(row) for row in mine])
        received = np.array([in_ms(row["received_at"]) for row in mine], np.int64)
        # They were not ahead of their receipt when they came, or are not any more.
        received = np.maximum(received, points.taken_ms)
        batches.append(Batch(wanted.project_id, gateways[wanted.project_id, code], code, received, points))
    stored = await store_points(conn, batches)
    await devices.apply_signs_of_life(conn, stored.seen_ms, ())
    kept = stored.unclaimed
    return Claimed(len(rows), len(rows) - kept, UnclaimedPlace(**{name: rows[-1][name] for name in _UNCLAIMED_KEY}))


def _point(row: dict[str, Any]) -> Point:
    ahead_ms, quality = 1000 * row["ahead_s"], row["quality"]
    if ahead_ms:
        quality |= Quality.ESTIMATED_CLOCK
    return Point(row["device_code"], row["channel_code"], in_ms(row["taken_at"]) - ahead_ms, row["value"], quality)
