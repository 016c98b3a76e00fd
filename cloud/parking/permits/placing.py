"""Which numbered spaces a permit may have: of its lots, in use, nobody else's, and no other permit's at the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloud.kit.db import Conn
from cloud.parking.permits import space_repository
from cloud.parking.spaces import service as spaces


@dataclass(frozen=True, slots=True)
class Standing:
    """For which permit spaces are wanted: where it holds, and who holds it."""

    project_id: int
    permit_id: int
    lot_ids: Sequence[int]
    person_id: int | None
    unit_id: int | None


async def place(conn: Conn, permit: Standing, space_ids: Sequence[int], now: datetime) -> None:
    """Gives spaces to a permit; the caller then writes their times, which is when two permits would meet.

    Raises NotFound when one is in none of its lots, Conflict when one is out of service or somebody else's.
    """
    for space_id in sorted(set(space_ids)):  # in one order, so that nobody waits for each other
        await spaces.usable(
            conn, permit.lot_ids, space_id, now, person_id=permit.person_id, unit_id=permit.unit_id
        )  # fmt: skip
    await space_repository.insert(conn, permit.project_id, permit.permit_id, sorted(set(space_ids)), now)


async def stays_whose_it_is(conn: Conn, permit: Standing, now: datetime) -> None:
    """That no space comes to another holder with its permit while it is sold or rented to others.

    Raises Conflict (`space-of-another`) like `place`: it is taken from the permit first, or its owner is changed.
    """
    for space_id in sorted(await space_repository.of_permit(conn, permit.permit_id)):
        await spaces.nobody_elses(conn, space_id, now, person_id=permit.person_id, unit_id=permit.unit_id)
