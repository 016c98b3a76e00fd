"""What lanes have to know to decide without the cloud: lots, free minutes, who is inside, what is paid.

Compared as a whole with what each gateway was told, and only the differences are told: whoever changes a lot, a rule
or a stay need not think of it.
"""

from asyncio import sleep
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from cloud.devices import access
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.locks import try_lock
from cloud.kit.periods import in_ms, local_day
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.counts.counting import left_beside
from cloud.parking.edge import repository as store
from cloud.parking.edge.repository import Inside, LotPlace
from cloud.parking.edge.serving import lots_of_gateways
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.versions import Pricing, pricing
from cloud.parking.permits import covering as permits
from cloud.parking.records import LotClass, RuleVersion, SessionPayment
from cloud.parking.stays import reading_repository
from cloud.parking.stays.likeness import TICKET_SIGN
from gateway.contract.access import AccessEntry, GoneEntry, LotEntry, StayEntry, entry_name
from gateway.contract.room import ALL_CLASSES

_ENDED_WITHIN: Final = timedelta(days=1)
"""A gateway may have begun a stay that it was never told of; that it ended, it is told for so long."""
_RULES_OF: Final = timedelta(days=8)
"""No stay with free minutes is longer: the rule that was in force then may price a stay that ends now."""
_KINDS: Final = ("lot", "stay")
# Advisory locks of projects ("gm", 26): their gateways are told by one worker at a time.
_LOCK_SPACE: Final = 0x67_6D_1A << 40
_ROWS_AT_ONCE: Final = 2_000
"""Of all gateways together: some fifty milliseconds of work."""
_REST: Final = 4
"""So many times as long as the work took, others have before it goes on."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What may be new for some gateways, which have lanes of the same lots."""

    gateway_ids: Sequence[int]
    entries: Sequence[AccessEntry]


async def tell_in_turn(conn: Conn, db: Database, asker: Asker, project_id: int, now: datetime) -> int:
    """Tells every gateway with lanes what changed for it; returns of how many steps they are told.

    A little at a time, each in a transaction of its own: between them others have the server's cores.
    Written at once, what changed in a minute at two hundred lanes takes more than a second, and so long a vehicle at an
    exit would wait for its price. What is told was true when this began; nobody else tells it, and `conn`, which stays
    open, keeps away whoever would.
    """
    if not await try_lock(conn, _LOCK_SPACE, [project_id]):
        return 0
    told = 0
    for change in await _changes(conn, project_id, now):
        for some in _portions(change):
            began = monotonic()
            async with db.transaction(asker) as own:
                told += await access.tell(own, project_id, some.gateway_ids, some.entries)
            await sleep(_REST * (monotonic() - began))
    return told


def _portions(change: _Change) -> Iterator[_Change]:
    at_once = max(_ROWS_AT_ONCE // len(change.gateway_ids), 1)
    for first in range(0, len(change.entries), at_once):
        yield replace(change, entries=change.entries[first : first + at_once])


async def _changes(conn: Conn, project_id: int, now: datetime) -> list[_Change]:
    """All that lanes have to know and that is over, without what all of them know to be over."""
    served = await lots_of_gateways(conn, project_id)
    lot_ids = sorted({lot_id for lots in served.values() for lot_id in lots})
    if not lot_ids:
        return []
    entries = await _entries(conn, project_id, lot_ids, now)
    gone: dict[int, list[AccessEntry]] = defaultdict(list)
    for lot_id, passage_id in await store.ended(conn, project_id, lot_ids, now - _ENDED_WITHIN):
        gone[lot_id].append(GoneEntry("stay", str(passage_id)))
    changes = []
    for lots, gateway_ids in _alike(served).items():
        wanted = [entry for lot_id in lots for entry in entries[lot_id]]
        ended = [entry for lot_id in lots for entry in gone[lot_id]]
        known = [await access.known(conn, gateway_id, _KINDS) for gateway_id in gateway_ids]
        # What is inside counts more than what ended: a stay that goes on is told last.
        last = {entry_name(entry): entry for entry in (*ended, *_no_more(known, wanted), *wanted)}
        changes.append(_Change(gateway_ids, [one for name, one in last.items() if not _over(one, name, known)]))
    return changes


def _over(entry: AccessEntry, name: tuple[str, str], known: Iterable[Mapping[tuple[str, str], bool]]) -> bool:
    """Whether every gateway knows already that this is over."""
    return isinstance(entry, GoneEntry) and all(one.get(name) is False for one in known)


def _alike(served: Mapping[int, set[int]]) -> dict[tuple[int, ...], list[int]]:
    """Gateways by the lots that they have lanes of: those of the same lots are told the same."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for gateway_id, lots in sorted(served.items()):
        alike[tuple(sorted(lots))].append(gateway_id)
    return alike


def free_minutes(versions: Iterable[RuleVersion], vehicle_class: str) -> int:
    """The minutes that are free by every rule that may price the stay; a quota of the day may be used up."""
    schedules = [version.rule.schedule_of(vehicle_class) for version in versions]
    return min((0 if schedule.daily_quota else schedule.free_minutes for schedule in schedules), default=0)


async def _entries(conn: Conn, project_id: int, lot_ids: Sequence[int], now: datetime) -> dict[int, list[AccessEntry]]:
    rates = await pricing(conn, project_id, lot_ids)
    beside = await left_beside(conn, project_id, now)
    lots = {lot.id: as_gateways_count(lot, beside.get(lot.id, {})) for lot in await store.lots(conn, lot_ids)}
    entries: dict[int, list[AccessEntry]] = {lot.id: [*_lot_entries(lot, rates, now)] for lot in lots.values()}
    stays = await store.inside(conn, project_id, lot_ids)
    paid = await reading_repository.payments(conn, [stay.id for stay in stays])
    on_spaces = await _on_spaces(conn, project_id, stays, now)
    given = await circumstances(conn, project_id, rates.zone, [stay for stay in stays if stay.id in paid])
    for stay in stays:
        paid_until = _paid_until(stay, rates, paid[stay.id], given[stay.id], now) if stay.id in paid else 0
        entries[stay.lot_id].append(_stay_entry(stay, lots[stay.lot_id], paid_until, covered=stay.id in on_spaces))
    return entries


def as_gateways_count(lot: LotPlace, beside: Mapping[str, int]) -> LotPlace:
    """A lot with the room that its gateways are told, so that they, who count stays, find as many places as we do.

    `beside`: by class, how many more vehicles may have a stay there. Pure.
    """
    classes = [
        replace(
            one,
            kept=max(0, one.kept + beside.get(one.vehicle_class, 0)) if one.kept else 0,
            at_most=None if one.at_most is None else max(0, one.at_most + beside.get(one.vehicle_class, 0)),
        )
        for one in lot.classes
    ]
    return replace(lot, capacity=max(0, lot.capacity + sum(beside.values())), classes=classes)


async def _on_spaces(conn: Conn, project_id: int, stays: Sequence[Inside], now: datetime) -> set[int]:
    """Stays whose vehicle takes a space of its permit since it came in: a lane lets in no other one for it.

    One that got its space later owes for the time before, and would leave without paying if its gateway were told.
    A camera may be ahead of our clock: a vehicle that has just come is looked at when it came.
    """
    latest = max([now, *(stay.entered_at for stay in stays)])
    plates = [stay.plate for stay in stays]
    covered = await permits.covered(conn, project_id, plates, now, latest + timedelta(milliseconds=1))
    return {
        stay.id
        for stay in stays
        for one in covered.get(stay.plate, ())
        if one.lot_id == stay.lot_id and one.start <= stay.entered_at and max(now, stay.entered_at) < one.end
    }


def _lot_entries(lot: LotPlace, rates: Pricing, now: datetime) -> Iterable[LotEntry]:
    first, last = local_day(now - _RULES_OF, rates.zone), local_day(now, rates.zone)
    versions = [
        version
        for version in rates.versions
        if version.lot_id == lot.id
        and version.valid_from <= last
        and (version.valid_until is None or version.valid_until > first)
    ]
    if not any(version.covers(last) for version in versions):
        versions = []  # nobody can price a stay that begins today
    own = {one.vehicle_class: one for one in lot.classes}
    whole = LotClass(ALL_CLASSES, 0, lot.capacity)
    for vehicle_class in sorted({ALL_CLASSES, *own, *(name for version in versions for name in version.rule.classes)}):
        room = own.get(vehicle_class, LotClass(vehicle_class)) if vehicle_class else whole
        yield LotEntry(
            f"{lot.id}-{vehicle_class}" if vehicle_class else str(lot.id),
            lot.code,
            vehicle_class,
            -1 if room.at_most is None else room.at_most,
            free_minutes(versions, vehicle_class) * 60_000,
            room.kept,
            not vehicle_class and not lot.open,
        )


def _stay_entry(stay: Inside, lot: LotPlace, paid_until: int, *, covered: bool) -> StayEntry:
    entered_at = in_ms(stay.entered_at)
    # What stands for the plate of a vehicle without one is no plate: it must not be taken for that of another vehicle.
    plate = "" if stay.plate.startswith(TICKET_SIGN) else stay.plate
    return StayEntry(str(stay.passage_id), plate, lot.code, stay.vehicle_class, entered_at, paid_until, covered)


def _paid_until(
    stay: Inside, rates: Pricing, paid: Sequence[SessionPayment], given: Circumstances, now: datetime
) -> int:
    """Until when leaving costs no more, in milliseconds.

    What was paid and is used up is told as 1: such a stay has no free minutes any more.
    """
    version = rates.rule_for(stay.lot_id, stay.entered_at)
    if version is None:
        return 1
    result = rates.assess(version, stay.entered_at, max(now, stay.entered_at), stay.vehicle_class, paid, given)
    if result is None or result.due or result.leave_by is None:
        return 1
    return in_ms(result.leave_by)


def _no_more(known: Iterable[Mapping[tuple[str, str], bool]], wanted: Sequence[AccessEntry]) -> list[AccessEntry]:
    """What one of the gateways was told and what is not any more."""
    there = {(str(entry.__struct_config__.tag), entry.key) for entry in wanted}
    held = {name for one in known for name, holds in one.items() if holds}
    return [GoneEntry(*name) for name in sorted(held - there)]
