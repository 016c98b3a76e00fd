"""Passages from the edge become sessions: stored once each, matched in event time, whatever order they come in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.parking.charging import service as charging
from cloud.parking.charging.ended import price_ended
from cloud.parking.places import repository as places
from cloud.parking.plates import bare_plate
from cloud.parking.records import Applied, Lane
from cloud.parking.stays import repository as store
from cloud.parking.stays.matching import Incident, Outcome, Stay, further, match_passages, match_unlicensed
from cloud.parking.stays.repository import PassageRow, PlateKey, SessionRow, StoredPassage, StoredSession
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


async def apply_passages(
    conn: Conn, project_id: int, gateway_code: str, passages: Sequence[WirePassage], now: datetime | None = None
) -> Applied:
    """Takes passages of one gateway, any number of times and in any order; the result is the same.

    Passages of devices that are no lane wait until the lane is made, those with an impossible time are set aside.
    A vehicle that arrived at an exit just now and owes nothing is let out by one command.
    """
    at = now or datetime.now(UTC)
    await places.lock_lanes(conn, project_id, exclusive=False)
    lanes = await _lanes_by_code(conn, project_id, gateway_code, {passage.device for passage in passages})
    rows: dict[UUID, PassageRow] = {}
    unclaimed = 0
    for passage in map(_printable, passages):
        lane = places.lane_at(lanes.get(passage.device, ()), _instant(passage.taken_at))
        reason = "unknown-lane" if lane is None else None if _possible(passage, at) else "clock"
        if lane is None or reason is not None:
            await store.set_aside(conn, project_id, gateway_code, reason or "unknown-lane", passage)
            unclaimed += 1
        else:
            row = _row(passage, lane)
            rows[row.id] = _furthest(rows.get(row.id), row)
    known = {lane.id: lane for of_device in lanes.values() for lane in of_device}
    stored, opened = await _store(conn, project_id, list(rows.values()), known, at)
    return Applied(stored, unclaimed, opened)


async def claim_passages(conn: Conn, lane: Lane, now: datetime | None = None) -> Applied:
    """Takes the passages that waited for this lane to be made."""
    device = await devices.get_device(conn, lane.device_id)
    waited = await store.claim(conn, lane.project_id, device.gateway_code, device.code)
    return await apply_passages(conn, lane.project_id, device.gateway_code, waited, now)


async def _lanes_by_code(conn: Conn, project_id: int, gateway_code: str, codes: set[str]) -> dict[str, list[Lane]]:
    found = [await devices.get_device_by_code(conn, project_id, gateway_code, code) for code in sorted(codes)]
    device_ids = {device.code: device.id for device in found if device is not None}
    lanes = await places.lanes_of_devices(conn, list(device_ids.values()))
    return {code: lanes[device_id] for code, device_id in device_ids.items() if device_id in lanes}


def _printable(passage: WirePassage) -> WirePassage:
    """The passage without NUL characters, which the database cannot keep."""
    texts = {name: getattr(passage, name) for name in ("plate", "plate_read", "image", "decision")}
    return msgspec.structs.replace(passage, **{name: text.replace("\x00", "") for name, text in texts.items()})


def _possible(passage: WirePassage, now: datetime) -> bool:
    return now - OLDEST <= _instant(passage.taken_at) <= now + CLOCK_AHEAD


def _row(passage: WirePassage, lane: Lane) -> PassageRow:
    taken_at = _instant(passage.taken_at)
    return PassageRow(
        id=UUID(passage.id),
        project_id=lane.project_id,
        lane_id=lane.id,
        plate=bare_plate(passage.plate),
        plate_read=passage.plate_read or passage.plate,
        vehicle_class=passage.vehicle_class,
        score=passage.score,
        direction="entry" if passage.direction == "entry" else "exit",
        taken_at=taken_at,
        outcome=_OUTCOMES[passage.outcome.value],
        outcome_at=_instant(passage.outcome_at) if passage.outcome_at else taken_at,
        offline=passage.offline,
        decision=passage.decision,
        image=passage.image,
    )


def _furthest(one: PassageRow | None, other: PassageRow) -> PassageRow:
    """The same passage reported twice in one batch."""
    return other if one is None or further(one.outcome, other.outcome) != one.outcome else one


async def _store(
    conn: Conn, project_id: int, rows: list[PassageRow], lanes: dict[int, Lane], now: datetime
) -> tuple[int, int]:
    """Returns how many passages were new or got further, and how many vehicles were let out."""
    if not rows:
        return 0, 0
    await store.lock_plates(conn, project_id, [row.plate for row in rows])
    changed = await store.insert_passages(conn, sorted(rows, key=lambda row: row.id))
    since: dict[PlateKey, datetime] = {}
    for _, lane_id, plate, taken_at in changed:
        key = (lanes[lane_id].lot_id, plate)
        since[key] = min(taken_at, since.get(key, taken_at))
    unlicensed = [passage_id for passage_id, _, plate, _ in changed if not plate]
    licensed = {key: at for key, at in since.items() if key[1]}
    moved = await _rebuild(conn, project_id, licensed, unlicensed) if changed else []
    opened = 0
    for session_id in await _arrived_now(conn, [*moved, *(passage_id for passage_id, *_ in changed)], now):
        opened += await charging.let_out_if_settled(conn, session_id, now) is not None
    return len(changed), opened


async def _arrived_now(conn: Conn, ids: list[UUID], now: datetime) -> list[int]:
    """Sessions of the passages that stand at an exit, unless that is long ago."""
    found = await store.passages_by_id(conn, ids)
    waiting = {
        passage.session_id
        for passage in found
        if passage.seen.direction == "exit"
        and passage.seen.outcome == "arrived"
        and passage.session_id is not None
        and passage.key[1]
        and passage.seen.taken_at >= now - charging.WAITS_AT_MOST
    }
    return sorted(waiting)


@dataclass(slots=True)
class _Group:
    """Passages that are matched together, the sessions stored for them, and what they should be."""

    key: PlateKey
    passages: list[StoredPassage]
    sessions: list[StoredSession]
    stays: tuple[Stay, ...] = ()
    incidents: dict[UUID, Incident] | None = None


async def _rebuild(
    conn: Conn, project_id: int, since: dict[PlateKey, datetime], unlicensed: Sequence[UUID]
) -> list[UUID]:
    """Matches again what the changes may touch and stores what came out differently; returns the passages moved."""
    groups = await _groups(conn, project_id, since) if since else []
    for passage in await store.passages_by_id(conn, unlicensed) if unlicensed else []:
        if passage.session_id is None:
            groups.append(_Group(passage.key, [passage], []))
    for group in groups:
        seen = [passage.seen for passage in group.passages]
        matching = match_passages(seen) if group.key[1] else match_unlicensed(seen[0])
        group.stays, group.incidents = matching.stays, matching.incidents
    return await _write(conn, project_id, groups)


async def _groups(conn: Conn, project_id: int, since: dict[PlateKey, datetime]) -> list[_Group]:
    anchors = await store.anchors(conn, project_id, since)
    start = {key: anchor or _BEGINNING for key, anchor in anchors.items()}
    groups = {key: _Group(key, [], []) for key in start}
    for passage in await store.passages_since(conn, project_id, start):
        groups[passage.key].passages.append(passage)
    for session in await store.sessions_since(conn, project_id, start):
        groups[session.lot_id, session.plate].sessions.append(session)
    return list(groups.values())


async def _write(conn: Conn, project_id: int, groups: Sequence[_Group]) -> list[UUID]:
    merged: list[tuple[int, int]] = []
    updates: list[tuple[int, SessionRow]] = []
    made: list[tuple[_Group, Stay]] = []
    sessions_of: dict[int, int] = {}
    for group in groups:
        kept = _keep_sessions(group)
        gone = _gone_sessions(group, kept)
        grown = {kept_id for _, kept_id in gone}
        merged += gone
        stored = {session.id: session for session in group.sessions}
        for stay, session_id in zip(group.stays, kept, strict=True):
            if session_id is None:
                made.append((group, stay))
                continue
            sessions_of[id(stay)] = session_id
            if session_id in grown or _differs(stored[session_id], stay, group):
                updates.append((session_id, _session_row(group.key, stay)))
    await store.merge_sessions(conn, merged)
    await store.update_sessions(conn, updates)
    changed = [session_id for session_id, _ in updates]
    if made:
        currency = (await estate.get_project(conn, project_id)).currency
        rows = [_session_row(group.key, stay) for group, stay in made]
        for (_, stay), session_id in zip(
            made, await store.insert_sessions(conn, project_id, currency, rows), strict=True
        ):
            sessions_of[id(stay)] = session_id
            changed.append(session_id)
    await price_ended(conn, project_id, changed)
    moved = [change for group in groups for change in _attachments(group, sessions_of, merged)]
    await store.attach(conn, moved)
    return [passage_id for passage_id, *_ in moved]


def _keep_sessions(group: _Group) -> list[int | None]:
    """For each stay the stored session that it continues: first by its entry, then by its exit, then by any passage."""
    session_of = {passage.seen.id: passage.session_id for passage in group.passages}
    free = {session.id for session in group.sessions}
    kept: list[int | None] = [None] * len(group.stays)
    for members in (_opening, _closing, _all_passages):
        for index, stay in enumerate(group.stays):
            known = [session_of.get(member) for member in members(stay)]
            found = next((session_id for session_id in known if session_id in free), None)
            if kept[index] is None and found is not None:
                kept[index] = found
                free.remove(found)
    return kept


def _opening(stay: Stay) -> Sequence[UUID]:
    return [stay.opening] if stay.opening else []


def _closing(stay: Stay) -> Sequence[UUID]:
    return [stay.closing] if stay.closing else []


def _all_passages(stay: Stay) -> Sequence[UUID]:
    return stay.passages


def _gone_sessions(group: _Group, kept: Sequence[int | None]) -> list[tuple[int, int]]:
    """Stored sessions that are no stay of their own any more, each with the one that its passages belong to now."""
    belongs_to = {member: kept_id for stay, kept_id in zip(group.stays, kept, strict=True) for member in stay.passages}
    free = {session.id for session in group.sessions} - set(kept)
    gone: list[tuple[int, int]] = []
    for passage in group.passages:
        target = belongs_to.get(passage.seen.id)
        if passage.session_id in free and passage.seen.outcome == "passed" and target is not None:
            free.remove(passage.session_id)
            gone.append((passage.session_id, target))
    return gone


def _differs(session: StoredSession, stay: Stay, group: _Group) -> bool:
    """Whether the stored session must change. One that staff ended stays ended until its vehicle is seen again."""
    if session.closed_by_hand and stay.left_at is None and session.left_at is not None:
        seen = [passage.seen.taken_at for passage in group.passages if passage.seen.id in stay.passages]
        return any(taken_at > session.left_at for taken_at in seen)
    return (session.entered_at, session.left_at, session.state, session.vehicle_class) != (
        stay.entered_at,
        stay.left_at,
        stay.state,
        stay.vehicle_class,
    )


def _session_row(key: PlateKey, stay: Stay) -> SessionRow:
    """The stay as it is stored; it is priced once all stays around it are stored."""
    return SessionRow(
        lot_id=key[0],
        plate=key[1],
        vehicle_class=stay.vehicle_class,
        entered_at=stay.entered_at,
        left_at=stay.left_at,
        state=stay.state,
    )


def _attachments(
    group: _Group, sessions_of: dict[int, int], merged: Sequence[tuple[int, int]]
) -> Iterable[tuple[UUID, int | None, str | None]]:
    """Passages whose session or incident is another one now."""
    after_merge = dict(merged)
    wanted = {member: sessions_of[id(stay)] for stay in group.stays for member in stay.passages}
    incidents = group.incidents or {}
    for passage in group.passages:
        session_id, incident = wanted.get(passage.seen.id), incidents.get(passage.seen.id)
        now_id = None if passage.session_id is None else after_merge.get(passage.session_id, passage.session_id)
        if (session_id, incident) != (now_id, passage.incident):
            yield passage.seen.id, session_id, incident


def _instant(milliseconds: int) -> datetime:
    return _BEGINNING + timedelta(milliseconds=milliseconds)
