"""Black and white lists: plates are put on them and taken off, and the gateways know in the same moment."""

from datetime import datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.charging.ended import price_cover
from cloud.parking.lists import repository
from cloud.parking.lists.records import Entry, EntryFilter, NewEntry
from cloud.parking.lists.telling import tell_entry
from cloud.parking.places import repository as places
from cloud.parking.plates import bare_plate
from cloud.parking.stays.repository import lock_plates


async def add(conn: Conn, new: NewEntry, actor: str, now: datetime) -> Entry:
    """Puts a plate on a list of a lot, or of all; its gateways are told in the same transaction.

    A time on the white list may begin in the past: stays that are over are covered then too.
    `new.plate` is one that `valid_plate` gave. Raises NotFound (lot), InvalidInput, and Conflict when the plate is on a
    list of the same lots at that time, or when it would be on the white list of a lot while all refuse it.
    """
    if new.valid_until is not None and new.valid_until <= max(new.valid_from, now):
        raise InvalidInput("bad-validity", "expected an end after the beginning and after now", field="valid_until")
    if not new.reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    if new.lot_id is not None:
        lot = await places.lot(conn, new.lot_id)
        if lot is None or lot.project_id != new.project_id:
            raise NotFound("no-lot", f"there is no parking lot {new.lot_id}", field="lot_id")
    await places.lock_lanes(conn, new.project_id, exclusive=False)
    await lock_plates(conn, new.project_id, [new.plate])
    for known in await repository.meeting(conn, new):
        _must_not_contradict(new, known)
    made = await get(conn, await repository.insert(conn, new, actor))
    if made.listing == "white" and made.valid_from < now:
        await price_cover(conn, made.project_id, [made.plate], made.valid_from)
    await tell_entry(conn, made, now)
    return made


async def end(conn: Conn, entry_id: int, reason: str, actor: str, now: datetime) -> Entry:
    """Takes a plate off its list now. Raises NotFound, InvalidInput, Conflict when it is not on it any more."""
    entry = await get(conn, entry_id)
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    await places.lock_lanes(conn, entry.project_id, exclusive=False)
    if entry.state(now) in ("ended", "over") or not await repository.end(conn, entry_id, now, actor, reason.strip()):
        raise Conflict("entry-over", f"{entry.plate} is not on this list any more")
    ended = await get(conn, entry_id)
    await tell_entry(conn, ended, now)
    return ended


async def get(conn: Conn, entry_id: int) -> Entry:
    """Raises NotFound."""
    found = await repository.entry(conn, entry_id)
    if found is None:
        raise NotFound("no-list-entry", f"there is no entry {entry_id} of a list", field="entry_id")
    return found


async def list_entries(conn: Conn, page: PageRequest, wanted: EntryFilter) -> Page[Entry]:
    """Entries, the newest first; the plate may be the beginning of one. Residents see none."""
    plate = bare_plate(wanted.plate) if wanted.plate else None
    return await repository.entries(conn, page, EntryFilter(
        wanted.project_id, wanted.lot_id, wanted.listing, plate or None, wanted.current_at
    ))  # fmt: skip


def _must_not_contradict(new: NewEntry, known: Entry) -> None:
    """The black list counts first at every lane: a white entry under a black one of all lots would never hold."""
    where = "all lots" if known.lot_code is None else f"lot {known.lot_code}"
    detail = f"{known.plate} is on the {known.listing} list of {where} at that time (entry {known.id})"
    if known.lot_id == new.lot_id:
        raise Conflict("list-overlap", detail, field="plate", entry_id=known.id)
    if (new.lot_id is None, new.listing, known.listing) == (True, "black", "white") or (
        known.lot_id is None and (known.listing, new.listing) == ("black", "white")
    ):
        raise Conflict("list-contradiction", detail, field="plate", entry_id=known.id)
