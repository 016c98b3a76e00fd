"""The numbered spaces of permits: given, taken back, offered, and found among what was only written."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, NotFound
from cloud.parking.permits import space_repository
from cloud.parking.permits.placing import Standing, place
from cloud.parking.permits.records import Permit
from cloud.parking.permits.service import get_permit, locked_permit, settle_change
from cloud.parking.permits.written import without
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import Space

OFFERED = 200
"""Spaces that are offered at once; more are found by the beginning of their number."""


async def give_space(conn: Conn, permit_id: int, space_id: int, at: datetime | None = None) -> Permit:
    """One more numbered space for a permit; a number that was written of it is struck out.

    Raises NotFound (permit, or no space of its lots); Conflict when it ended, when the space is out of service
    (`space-out-of-service`), is sold or rented to others (`space-of-another`), is one of its spaces already
    (`space-there`), or is another permit's at some time of this one (`space-has-permit`).
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if space_id in await space_repository.of_permit(conn, permit_id):
        raise Conflict("space-there", "it is a space of this permit already", field="space_id")
    permit = Standing(found.project_id, permit_id, found.lot_ids, found.person_id, found.unit_id)
    await place(conn, permit, [space_id], now)
    number = (await spaces.get(conn, space_id, now)).number
    left = without(found.space, number)
    if left != found.space:
        await space_repository.set_written(conn, permit_id, left)
    return await settle_change(conn, found.project_id, permit_id, now, now)


async def take_space_back(conn: Conn, permit_id: int, space_id: int, at: datetime | None = None) -> Permit:
    """A space is not the permit's any more. Raises NotFound, also for a space that it has not."""
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if not await space_repository.delete(conn, permit_id, space_id):
        raise NotFound("no-space", "this permit has no such space", field="space_id")
    return await settle_change(conn, found.project_id, permit_id, now, now)


async def offered(conn: Conn, permit_id: int, number: str | None = None, at: datetime | None = None) -> list[Space]:
    """Spaces that the permit may be given, its holder's first; `number` may be the beginning. Raises NotFound."""
    now = at or datetime.now(UTC)
    found = await get_permit(conn, permit_id, now)
    ids = await space_repository.offered(
        conn,
        found.lot_ids,
        OFFERED,
        now,
        permit_id=permit_id,
        person_id=found.person_id,
        unit_id=found.unit_id,
        number=number,
    )
    return await spaces.by_ids(conn, ids, now)


async def offered_in(conn: Conn, lot_ids: Sequence[int], at: datetime | None = None) -> list[Space]:
    """Spaces of lots that a new permit of anybody may be given."""
    now = at or datetime.now(UTC)
    return await spaces.by_ids(conn, await space_repository.offered(conn, lot_ids, OFFERED, now), now)


async def permits_of_space(conn: Conn, space_id: int, at: datetime | None = None) -> list[Permit]:
    """Permits that have a space or had it to their end, the newest first; residents see their own."""
    now = at or datetime.now(UTC)
    return [await get_permit(conn, one, now) for one in await space_repository.permits_of(conn, space_id)]


async def match_written(conn: Conn, project_id: int) -> int:
    """Makes spaces of the numbers that permits have in writing, where each is clear and free; gives how many.

    What is not found, is found twice or is another permit's stays in writing.
    """
    return await space_repository.match_written(conn, project_id)
