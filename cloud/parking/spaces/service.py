"""Spaces of lots: made one by one or by range, changed, and whose they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.places.service import get_lot
from cloud.parking.spaces import repository
from cloud.parking.spaces.numbering import numbers_between, valid_number
from cloud.parking.spaces.records import Holder, NewHolder, NewSpace, Space, SpaceFilter, SpaceState

_NAMED = 5
"""Numbers that a refusal repeats."""


async def create(conn: Conn, lot_id: int, new: NewSpace, now: datetime) -> Space:
    """A new space, its number unique in the lot. Raises NotFound, InvalidInput, Conflict."""
    lot = await get_lot(conn, lot_id)
    number = valid_number(new.number)
    made = await repository.insert(conn, lot.project_id, lot_id, [replace(new, number=number)])
    if not made:
        raise Conflict("space-exists", f"the lot has a space {number} already", field="number")
    return await get(conn, made[number], now)


async def create_range(conn: Conn, lot_id: int, first: str, last: str, like: NewSpace) -> list[str]:
    """Spaces from the first to the last number, all or none; what they share is taken from `like`.

    Gives the numbers. Raises NotFound, InvalidInput, and Conflict when some are there already.
    """
    lot = await get_lot(conn, lot_id)
    numbers = numbers_between(first, last)
    made = await repository.insert(conn, lot.project_id, lot_id, [replace(like, number=one) for one in numbers])
    there = [number for number in numbers if number not in made]
    if there:
        shown = ", ".join(there[:_NAMED]) + (" …" if len(there) > _NAMED else "")
        raise Conflict("space-exists", f"{len(there)} of these spaces are there already: {shown}", field="first")
    return numbers


async def change(conn: Conn, changed: Space, now: datetime) -> Space:
    """Number, place, class, stated state and note. Raises NotFound, InvalidInput, Conflict (number)."""
    await repository.lock(conn, changed.id)
    known = await get(conn, changed.id, now)
    number = valid_number(changed.number)
    if number != known.number and await repository.by_number(conn, known.lot_id, [number], now):
        raise Conflict("space-exists", f"the lot has a space {number} already", field="number")
    await repository.update(conn, replace(changed, number=number))
    return await get(conn, changed.id, now)


async def get(conn: Conn, space_id: int, now: datetime) -> Space:
    """Raises NotFound."""
    found = (await repository.spaces_by_id(conn, [space_id], now)).get(space_id)
    if found is None:
        raise NotFound("no-space", f"there is no parking space {space_id}", field="space_id")
    return found


async def list_spaces(conn: Conn, page: PageRequest, wanted: SpaceFilter, now: datetime) -> Page[Space]:
    """Spaces by id; residents see those that are or were theirs."""
    return await repository.spaces(conn, page, wanted, now)


async def counts(conn: Conn, lot_id: int, now: datetime) -> Counter[SpaceState]:
    """Spaces of a lot by their state of the day."""
    return await repository.counts(conn, lot_id, now)


async def usable(
    conn: Conn, lot_ids: Sequence[int], space_id: int, now: datetime, *, person_id: int | None, unit_id: int | None
) -> Space:
    """A space that may be given away to a person or unit, as to a permit; nobody else changes it until the end.

    Raises NotFound when it is in none of the lots; Conflict when it is out of service, or sold or rented to others
    (`space-of-another`). One that was only said to be sold, without naming to whom, may be anybody's.
    """
    await repository.lock(conn, space_id)
    space = (await repository.spaces_by_id(conn, [space_id], now)).get(space_id)
    if space is None or space.lot_id not in lot_ids:
        raise NotFound("no-space", f"there is no parking space {space_id} in these lots", field="space_id")
    if space.state == "out-of-service":
        raise Conflict("space-out-of-service", f"space {space.number} is out of service", field="space_id")
    await nobody_elses(conn, space_id, now, person_id=person_id, unit_id=unit_id)
    return space


async def nobody_elses(conn: Conn, space_id: int, now: datetime, *, person_id: int | None, unit_id: int | None) -> None:
    """That a space is nobody's, or that of the person or unit; nobody else changes that until the end.

    Raises NotFound, and Conflict (`space-of-another`) when it is sold or rented to others.
    """
    await repository.lock(conn, space_id)
    space = await get(conn, space_id, now)
    holders = await repository.holders_now(conn, space_id, now)
    own = any(
        (person_id is not None and one.person_id == person_id) or (unit_id is not None and one.unit_id == unit_id)
        for one in holders
    )
    if holders and not own:
        detail = f"space {space.number} is sold or rented to others"
        raise Conflict("space-of-another", detail, field="space_id", space=space.number)


async def by_ids(conn: Conn, space_ids: Sequence[int], now: datetime) -> list[Space]:
    """Those of the spaces that the asker may see, in the order of the ids."""
    found = await repository.spaces_by_id(conn, space_ids, now)
    return [found[space_id] for space_id in space_ids if space_id in found]


async def by_numbers(conn: Conn, lot_ids: Sequence[int], numbers: Sequence[str]) -> list[int]:
    """The ids of spaces of lots by their numbers, capitals or not, with the name of the lot before it or without.

    Raises InvalidInput for a number that none has, Conflict for one that several have.
    """
    found: list[int] = []
    for number in numbers:
        ids = await repository.ids_of_number(conn, lot_ids, number)
        if not ids:
            raise InvalidInput("unknown-space", f"these lots have no space {number[:40]!r}", field="space")
        if len(ids) > 1:
            detail = f"several lots have a space {number[:40]!r}: write the name of the lot before it"
            raise Conflict("several-spaces", detail, field="space")
        found.append(ids[0])
    return found


async def holders_of(conn: Conn, space_ids: Sequence[int]) -> list[Holder]:
    """Whose the spaces are or were, the last first; residents see themselves."""
    return await repository.holders(conn, space_ids)


async def add_holder(conn: Conn, space_id: int, new: NewHolder, actor: str, now: datetime) -> Holder:
    """A space becomes somebody's, as owner or tenant. Raises NotFound, InvalidInput, Conflict when it is another's."""
    await repository.lock(conn, space_id)
    space = await get(conn, space_id, now)
    if new.until is not None and new.until <= new.since:
        raise InvalidInput("bad-dates", "expected an end after the beginning", field="until")
    await _must_be_here(conn, space.project_id, new)
    for known in await repository.holders(conn, [space_id]):
        if known.role == new.role and meet(known, new):
            until = f" until {known.until}" if known.until else ""
            detail = f"space {space.number} has another {known.role} from {known.since}{until}"
            raise Conflict("space-held", detail, field="since")
    return await get_holder(conn, await repository.insert_holder(conn, space, new, actor))


async def end_holder(conn: Conn, holder_id: int, until: date) -> Holder:
    """From the day `until` on the space is no longer his; the row is kept. Raises NotFound, InvalidInput."""
    known = await get_holder(conn, holder_id)
    await repository.lock(conn, known.space_id)
    if until <= known.since:
        raise InvalidInput("bad-dates", f"expected a day after {known.since}", field="until")
    if known.until is not None and until > known.until:
        raise InvalidInput("bad-dates", f"it ends on {known.until} already", field="until")
    await repository.end_holder(conn, holder_id, until)
    return await get_holder(conn, holder_id)


async def get_holder(conn: Conn, holder_id: int) -> Holder:
    """Raises NotFound."""
    found = await repository.holder(conn, holder_id)
    if found is None:
        raise NotFound("no-space-holder", f"nobody holds a space by {holder_id}", field="holder_id")
    return found


async def _must_be_here(conn: Conn, project_id: int, new: NewHolder) -> None:
    if new.person_id is None and new.unit_id is None:
        raise InvalidInput("nobody-named", "expected a person or a unit", field="person_id")
    if new.person_id is not None and await estate.project_of_person(conn, new.person_id) != project_id:
        raise InvalidInput("unknown-person", f"there is no person {new.person_id} here", field="person_id")
    if new.unit_id is not None:
        unit = (await estate.units_by_id(conn, [new.unit_id])).get(new.unit_id)
        if unit is None or unit.project_id != project_id:
            raise InvalidInput("unknown-unit", f"there is no unit {new.unit_id} here", field="unit_id")


def meet(known: Holder, new: NewHolder) -> bool:
    """Whether there is a day of both."""
    return (known.until is None or new.since < known.until) and (new.until is None or known.since < new.until)
