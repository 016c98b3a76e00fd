"""Permits that become those of another class of vehicles, from now on."""

from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.permits import card_repository, repository
from cloud.parking.permits.records import Permit
from cloud.parking.permits.service import locked_permit, settle_change


async def change_class(conn: Conn, permit_id: int, vehicle_class: str, at: datetime | None = None) -> Permit:
    """From now on a permit is only for vehicles of this class; empty: of any.

    What was before stays covered as it was: a stay that goes on is split now. A card is for the class of its product,
    which its price is for. Raises NotFound; Conflict when the permit ended, is for this class already (`class-there`),
    or is a card of another class (`class-of-card`).
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if found.vehicle_class == vehicle_class:
        raise Conflict("class-there", "it is for this class already", field="vehicle_class")
    product = None if found.product_id is None else await card_repository.product(conn, found.product_id)
    if product is not None and product.vehicle_class != vehicle_class:
        detail = "a card is for the class of its product: end it and sell another one"
        raise Conflict("class-of-card", detail, field="vehicle_class")
    await repository.change_class(conn, permit_id, vehicle_class, now)
    return await settle_change(conn, found.project_id, permit_id, now, now)
