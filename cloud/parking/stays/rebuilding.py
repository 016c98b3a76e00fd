"""Stays matched anew after a change of passages, and what came out differently stored."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.parking.charging.ended import price_beside, price_ended
from cloud.parking.charging.following import money_follows
from cloud.parking.permits import covering as permits
from cloud.parking.stays import repository as store
from cloud.parking.stays import session_repository as sessions
from cloud.parking.stays.likeness import skeleton
from cloud.parking.stays.matching import Incident, Matching, Stay, match_unlicensed
from cloud.parking.stays.misreads import match_vehicles
from cloud.parking.stays.nesting import Span, priced_elsewhere
from cloud.parking.stays.policies import Lots, lots_of
from cloud.parking.stays.repository import Changed, Cluster, StoredPassage
from cloud.parking.stays.session_repository import SessionRow, StoredSession

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AtExit:
    """A vehicle of a stay that was recognised at an exit, and was not seen to leave."""

    session_id: int
    since: datetime


@dataclass(slots=True)
class _Work:
    """All that is matched anew in one turn: passages, the sessions stored for them, and what they should be."""

    lots: Lots
    passages: list[StoredPassage] = field(default_factory=list)
    sessions: dict[int, StoredSession] = field(default_factory=dict)
    stays: list[Stay] = field(default_factory=list)
    covered: list[tuple[Span, ...]] = field(default_factory=list)
    incidents: dict[UUID, Incident] = field(default_factory=dict)
    others: dict[UUID, UUID] = field(default_factory=dict)
    session_of: dict[UUID, int | None] = field(default_factory=dict)
    """By passage, once all sessions are stored."""

    def take(self, matching: Matching) -> None:
        covered = priced_elsewhere(matching.stays, self.lots.rules, self.lots.inner_time)
        self.stays += matching.stays
        self.covered += [covered.get(index, ()) for index in range(len(matching.stays))]
        self.incidents |= matching.incidents
        self.others |= matching.others


async def lock(conn: Conn, project_id: int, plates: Iterable[str]) -> None:
    """Locks plates and those that share the spaces of their permits: their stays may have to be priced anew."""
    await store.lock_plates(conn, project_id, await permits.affected_plates(conn, project_id, sorted(set(plates))))


async def rebuild(conn: Conn, project_id: int, changed: Sequence[Changed]) -> list[AtExit]:
    """Matches again what the changes may touch and stores what came out differently.

    Returns the vehicles that stand at an exit by passages that changed, or that came to another stay by this. The
    plates are locked by the caller, also those that the passages had before.
    """
    if not changed:
        return []
    lots = await lots_of(conn, project_id)
    work = _Work(lots)
    before = await sessions.sessions_by_id(conn, sorted({one.session_id for one in changed if one.session_id}))
    work.sessions = {session.id: session for session in before}
    clusters = await _clusters(conn, project_id, lots, _touched(changed, work.sessions, lots.roots))
    await _load(conn, project_id, work, clusters, [one.id for one in changed if not one.plate])
    moved = await _write(conn, project_id, work)
    await _tailgating(conn, lots, changed)
    return list(_at_exits(work, moved | {one.id for one in changed}))


def _touched(
    changed: Sequence[Changed], before: Mapping[int, StoredSession], roots: Mapping[int, int]
) -> dict[tuple[int, str], datetime]:
    """(root, plate) → the earliest change: plates of passages, and of the sessions that they had until now."""
    since: dict[tuple[int, str], datetime] = {}
    for one in changed:
        root_id = roots[one.lot_id]
        session = before.get(one.session_id) if one.session_id else None
        for plate in {one.plate, one.plate_before, session.plate if session else ""} - {""}:
            since[root_id, plate] = min(one.taken_at, since.get((root_id, plate), one.taken_at))
    return since


async def _clusters(
    conn: Conn, project_id: int, lots: Lots, since: Mapping[tuple[int, str], datetime]
) -> list[Cluster]:
    """From when on passages must be matched again: a vehicle alone from its last beginning, others from theirs."""
    changes = [Cluster(root_id, skeleton(plate), plate, at) for (root_id, plate), at in since.items()]
    anchors = await store.anchors(conn, project_id, changes, lots.roots) if changes else {}
    starts: dict[tuple[int, str], Cluster] = {}
    for change in changes:
        at = anchors.get((change.root_id, change.plate), _BEGINNING)
        known = starts.get((change.root_id, change.skeleton))
        if known is None or at < known.since:
            starts[change.root_id, change.skeleton] = Cluster(change.root_id, change.skeleton, change.plate, at)
    return list(starts.values())


async def _load(
    conn: Conn, project_id: int, work: _Work, clusters: Sequence[Cluster], unlicensed: Sequence[UUID]
) -> None:
    roots = work.lots.roots
    together: dict[tuple[int, str], list[StoredPassage]] = defaultdict(list)
    if clusters:
        work.passages += await store.passages_since(conn, project_id, clusters, roots)
        for passage in work.passages:
            together[roots[passage.seen.lot_id], skeleton(passage.seen.plate)].append(passage)
        for session in await sessions.sessions_since(conn, project_id, clusters, roots):
            work.sessions[session.id] = session
    for passages in together.values():
        work.take(match_vehicles([passage.seen for passage in passages], work.lots.rules))
    alone = await store.passages_by_id(conn, unlicensed)
    work.passages += alone
    for passage in alone:
        work.take(match_unlicensed(passage.seen))


async def _write(conn: Conn, project_id: int, work: _Work) -> set[UUID]:
    """Returns the passages that came to another stay, or to another incident."""
    kept = _keep_sessions(work)
    gone = _gone_sessions(work, kept)
    grown = {kept_id for _, kept_id in gone}
    updates: list[tuple[int, SessionRow]] = []
    made: list[int] = []
    for index, (stay, session_id) in enumerate(zip(work.stays, kept, strict=True)):
        if session_id is None:
            made.append(index)
        elif session_id in grown or _differs(work.sessions[session_id], stay, work.covered[index], work):
            updates.append((session_id, _session_row(stay, work.covered[index])))
    await sessions.merge_sessions(conn, gone)
    after_merge = dict(gone)
    empty = _empty_sessions(work, kept, after_merge)
    renamed = [id_ for id_, row in updates if row.plate != work.sessions[id_].plate]
    await sessions.update_sessions(conn, updates, renamed)
    changed = [id_ for id_, _ in updates]
    if made:
        currency = (await estate.get_project(conn, project_id)).currency
        rows = [_session_row(work.stays[index], work.covered[index]) for index in made]
        for index, new_id in zip(made, await sessions.insert_sessions(conn, project_id, currency, rows), strict=True):
            kept[index] = new_id
            changed.append(new_id)
    work.session_of = {member: kept[index] for index, stay in enumerate(work.stays) for member in stay.passages}
    moved = list(_attachments(work, after_merge))
    await store.attach(conn, moved)
    await sessions.drop_empty(conn, empty)
    touched = {*changed, *after_merge, *empty}
    await price_ended(conn, project_id, changed, [one for id_, one in work.sessions.items() if id_ in touched])
    await _price_beside(conn, project_id, work, kept, set(changed))
    plates = {stay.plate for stay in work.stays} | {one.plate for one in work.sessions.values()}
    await money_follows(conn, project_id, plates - {""}, {*work.sessions, *changed})
    return {passage_id for passage_id, *_ in moved}


async def _price_beside(
    conn: Conn, project_id: int, work: _Work, kept: Sequence[int | None], changed: Collection[int]
) -> None:
    """Others who share spaces with the changed stays may be covered otherwise, from the first change on."""
    now = [
        (stay.plate, stay.entered_at or stay.left_at)
        for stay, id_ in zip(work.stays, kept, strict=True)
        if id_ in changed
    ]
    before = [(one.plate, one.entered_at or one.left_at) for id_, one in work.sessions.items() if id_ in changed]
    times = [at for _, at in (*now, *before) if at is not None]
    plates = {plate for plate, _ in (*now, *before)} - {""}
    if plates and times:
        await price_beside(conn, project_id, sorted(plates), min(times))


def _keep_sessions(work: _Work) -> list[int | None]:
    """For each stay the stored session that it continues: first by its entry, then by its exit, then by any passage."""
    before = {passage.seen.id: passage.session_id for passage in work.passages}
    free = set(work.sessions)
    kept: list[int | None] = [None] * len(work.stays)
    for members in (_opening, _closing, _all_passages):
        for index, stay in enumerate(work.stays):
            if kept[index] is not None:
                continue
            known = [before.get(member) for member in members(stay)]
            found = next((session_id for session_id in known if session_id in free), None)
            if found is not None:
                kept[index] = found
                free.remove(found)
    return kept


def _opening(stay: Stay) -> Sequence[UUID]:
    return [stay.opening] if stay.opening else []


def _closing(stay: Stay) -> Sequence[UUID]:
    return [stay.closing] if stay.closing else []


def _all_passages(stay: Stay) -> Sequence[UUID]:
    return stay.passages


def _gone_sessions(work: _Work, kept: Sequence[int | None]) -> list[tuple[int, int]]:
    """Stored sessions that are no stay of their own any more, each with the one that its passages belong to now."""
    belongs_to = {member: index for index, stay in enumerate(work.stays) for member in stay.passages}
    free = set(work.sessions) - set(kept)
    gone: list[tuple[int, int]] = []
    for passage in work.passages:
        index = belongs_to.get(passage.seen.id)
        target = None if index is None else kept[index]
        if passage.session_id in free and target is not None:
            free.remove(passage.session_id)
            gone.append((passage.session_id, target))
    return gone


def _empty_sessions(work: _Work, kept: Sequence[int | None], gone: Mapping[int, int]) -> list[int]:
    """Stored sessions that nothing belongs to any more: of what was seen at an exit, and turned out to have left."""
    return [session_id for session_id in work.sessions if session_id not in kept and session_id not in gone]


def _differs(session: StoredSession, stay: Stay, covered: tuple[Span, ...], work: _Work) -> bool:
    """Whether the stored session must change. One that staff ended stays ended until its vehicle is seen again."""
    if session.closed_by_hand and stay.left_at is None and session.left_at is not None:
        members = set(stay.passages)
        seen = [passage.seen.taken_at for passage in work.passages if passage.seen.id in members]
        return any(taken_at > session.left_at for taken_at in seen)
    now = (session.lot_id, session.plate, session.entered_at, session.left_at, session.state, session.vehicle_class)
    wanted = (stay.lot_id, stay.plate, stay.entered_at, stay.left_at, stay.state, stay.vehicle_class)
    return (*now, session.entry_seen, session.fixed_fee, session.covered) != (
        *wanted,
        stay.entry_seen,
        stay.fixed_fee,
        covered,
    )


def _session_row(stay: Stay, covered: tuple[Span, ...]) -> SessionRow:
    """The stay as it is stored. It is priced once all stays around it are stored, unless the lot has a fixed fee."""
    fixed: Decimal | None = stay.fixed_fee if stay.closing is not None else None
    return SessionRow(
        lot_id=stay.lot_id,
        plate=stay.plate,
        vehicle_class=stay.vehicle_class,
        entered_at=stay.entered_at,
        left_at=stay.left_at,
        state=stay.state,
        fee=fixed,
        fee_until=stay.left_at if fixed is not None else None,
        entry_seen=stay.entry_seen,
        fixed_fee=stay.fixed_fee,
        covered=covered,
    )


def _attachments(
    work: _Work, after_merge: Mapping[int, int]
) -> Iterable[tuple[UUID, int | None, str | None, UUID | None]]:
    """Passages whose session or incident is another one now."""
    for passage in work.passages:
        name = passage.seen.id
        session_id, incident, other = work.session_of.get(name), work.incidents.get(name), work.others.get(name)
        now_id = None if passage.session_id is None else after_merge.get(passage.session_id, passage.session_id)
        if (session_id, incident, other) != (now_id, passage.incident, passage.incident_with):
            yield name, session_id, incident, other


def _at_exits(work: _Work, wanted: Collection[UUID]) -> Iterable[AtExit]:
    for seen in (passage.seen for passage in work.passages if passage.seen.id in wanted):
        session_id = work.session_of.get(seen.id)
        if session_id is not None and seen.plate and seen.direction == "exit" and seen.outcome == "arrived":
            yield AtExit(session_id, seen.taken_at)


async def _tailgating(conn: Conn, lots: Lots, changed: Sequence[Changed]) -> None:
    spans: dict[int, tuple[datetime, datetime]] = {}
    for one in changed:
        if one.outcome == "passed":
            since, until = spans.get(one.lane_id, (one.outcome_at, one.outcome_at))
            spans[one.lane_id] = min(since, one.outcome_at), max(until, one.outcome_at)
    within = {one.lane_id: lots.tailgating_within(one.lot_id) for one in changed}
    await store.mark_tailgating(conn, spans, within)
