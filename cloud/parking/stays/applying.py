"""Passages from the edge become sessions: stored once each, matched in event time, whatever order they come in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from cloud.devices import service as devices
from cloud.kit.db import Conn, plan_once
from cloud.parking.charging import service as charging
from cloud.parking.places import repository as places
from cloud.parking.plates import bare_plate
from cloud.parking.records import Applied, Lane
from cloud.parking.stays import repository as store
from cloud.parking.stays import set_aside_repository as aside
from cloud.parking.stays.matching import Outcome
from cloud.parking.stays.rebuilding import lock, rebuild
from cloud.parking.stays.reports import Report, merged, progress
from cloud.parking.stays.repository import Changed
from cloud.parking.stays.set_aside_repository import TimeRepair
from gateway.contract.messages import Passage as WirePassage

CLOCK_AHEAD = timedelta(minutes=10)
OLDEST = timedelta(days=800)
"""A passage stamped later than now by more than the first, or older than the second, has a broken clock."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_OUTCOMES: dict[str, Outcome] = {
    "arrived": "arrived",
    "passed": "passed",
    "turned-back": "turned-back",
    "refused": "refused",
}


@dataclass(frozen=True, slots=True)
class Told:
    """Passages of one gateway, and when they came."""

    gateway_code: str
    passages: Sequence[WirePassage]
    received_at: datetime


async def apply_passages(
    conn: Conn, project_id: int, gateway_code: str, passages: Sequence[WirePassage], now: datetime | None = None
) -> Applied:
    """Takes passages of one gateway: see `apply_told`."""
    return await apply_told(conn, project_id, [Told(gateway_code, passages, now or datetime.now(UTC))])


async def apply_told(conn: Conn, project_id: int, told: Sequence[Told]) -> Applied:
    """Takes passages of gateways of a project, any number of times and in any order; the result is the same.

    Passages of devices that are no lane wait until the lane is made, those with an impossible time are set aside.
    A vehicle that arrived at an exit just now and owes nothing is let out by one command. Vehicles wait at barriers
    meanwhile: what the passages of all gateways need is asked for at once.
    """
    await plan_once(conn)
    done = Applied(0, 0, 0)
    for some in _apart(told):
        one = await _apply(conn, project_id, some)
        done = Applied(done.stored + one.stored, done.unclaimed + one.unclaimed, done.opened + one.opened)
    return done


def _apart(told: Sequence[Told]) -> Iterator[list[Told]]:
    """Groups in which no passage is told by two gateways: nobody's word adds to what another one told."""
    group: list[Told] = []
    teller: dict[str, str] = {}
    for one in told:
        names = {passage.id for passage in one.passages}
        if any(teller.get(name, one.gateway_code) != one.gateway_code for name in names):
            yield group
            group, teller = [], {}
        group.append(one)
        teller |= dict.fromkeys(names, one.gateway_code)
    if group:
        yield group


async def _apply(conn: Conn, project_id: int, told: Sequence[Told]) -> Applied:
    await places.lock_lanes(conn, project_id, exclusive=False)
    names = {(one.gateway_code, passage.device) for one in told for passage in one.passages}
    lanes = await _lanes_by_name(conn, project_id, names)
    ids = {UUID(passage.id) for one in told for passage in one.passages}
    repaired = await aside.repairs(conn, project_id, ids)
    reports: dict[UUID, Report] = {}
    unclaimed = 0
    for gateway, passage in ((one, passage) for one in told for passage in map(_printable, one.passages)):
        repair = repaired.get(UUID(passage.id))
        taken_at = _instant(passage.taken_at) if repair is None else repair.taken_at
        lane = places.lane_at(lanes.get((gateway.gateway_code, passage.device), ()), taken_at)
        reason = _reason(lane, taken_at, repair, gateway.received_at)
        if lane is None or reason is not None:
            await aside.set_aside(conn, project_id, gateway.gateway_code, reason or "unknown-lane", passage)
            unclaimed += 1
        else:
            report = _report(passage, lane, repair)
            reports[report.id] = merged(reports[report.id], report) if report.id in reports else report
    now = max(one.received_at for one in told)
    stored, opened = await _store(conn, project_id, list(reports.values()), now)
    return Applied(stored, unclaimed, opened)


async def claim_passages(conn: Conn, lane: Lane, now: datetime | None = None) -> Applied:
    """Takes the passages that waited for this lane to be made."""
    device = await devices.get_device(conn, lane.device_id)
    waited = await aside.claim(conn, lane.project_id, device.gateway_code, device.code)
    return await apply_passages(conn, lane.project_id, device.gateway_code, waited, now)


async def apply_changes(conn: Conn, project_id: int, changed: Sequence[Changed], now: datetime) -> int:
    """What follows from changed passages; returns how many vehicles were let out.

    The caller has locked the plates that the passages have and had.
    """
    at_exits = await rebuild(conn, project_id, changed)
    waiting = {one.session_id for one in at_exits if one.since >= now - charging.WAITS_AT_MOST}
    return await charging.let_out_arrived(conn, sorted(waiting), now)


def possible(taken_at: datetime, now: datetime) -> bool:
    """Whether a passage may have been then."""
    return now - OLDEST <= taken_at <= now + CLOCK_AHEAD


async def _lanes_by_name(conn: Conn, project_id: int, names: set[tuple[str, str]]) -> dict[tuple[str, str], list[Lane]]:
    device_ids = await devices.ids_by_name(conn, project_id, names)
    lanes = await places.lanes_of_devices(conn, list(device_ids.values()))
    return {name: lanes[device_id] for name, device_id in device_ids.items() if device_id in lanes}


def _reason(lane: Lane | None, taken_at: datetime, repair: TimeRepair | None, now: datetime) -> str | None:
    """Why the passage cannot be taken in."""
    if lane is None:
        return "unknown-lane"
    return None if repair is not None or possible(taken_at, now) else "clock"


def _printable(passage: WirePassage) -> WirePassage:
    """The passage without NUL characters, which the database cannot keep."""
    texts = {name: getattr(passage, name) for name in ("plate", "plate_read", "image", "decision")}
    return msgspec.structs.replace(passage, **{name: text.replace("\x00", "") for name, text in texts.items()})


def _report(passage: WirePassage, lane: Lane, repair: TimeRepair | None) -> Report:
    """The report as it is stored; of a device whose clock was wrong, moved by as much as its passage is."""
    told_at = _instant(passage.taken_at)
    off = repair.taken_at - told_at if repair is not None else timedelta(0)
    outcome, plate = _OUTCOMES[passage.outcome.value], bare_plate(passage.plate)
    return Report(
        id=UUID(passage.id),
        project_id=lane.project_id,
        lane_id=lane.id,
        plate_told=plate,
        plate_read=passage.plate_read or passage.plate,
        vehicle_class=passage.vehicle_class,
        score=passage.score,
        direction="entry" if passage.direction == "entry" else "exit",
        taken_at=told_at + off,
        outcome=outcome,
        outcome_at=(_instant(passage.outcome_at) if passage.outcome_at else told_at) + off,
        offline=passage.offline,
        decision=passage.decision,
        image=passage.image,
        progress=progress(outcome, plate, passage.decision),
    )


async def _store(conn: Conn, project_id: int, reports: list[Report], now: datetime) -> tuple[int, int]:
    """Returns how many passages were new or got further, and how many vehicles were let out."""
    if not reports:
        return 0, 0
    # Staff may have said that a passage has another plate than is told: both are locked.
    before = await store.in_use(conn, [report.id for report in reports])
    names = {store.lock_name(plate, session_id) for plate, session_id in before.values()}
    await lock(conn, project_id, names | {report.plate_told for report in reports})
    plates = {id_: plate for id_, (plate, _) in before.items()}
    changed = await store.insert_passages(conn, sorted(reports, key=lambda report: report.id), plates)
    return len(changed), await apply_changes(conn, project_id, changed, now) if changed else 0


def _instant(milliseconds: int) -> datetime:
    return _BEGINNING + timedelta(milliseconds=milliseconds)
