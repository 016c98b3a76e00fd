"""Reminders of cards that end, once for each end."""

from datetime import datetime, timedelta

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.periods import local_day
from cloud.notices import service as notices
from cloud.notices.records import PERMIT_ENDING, Saying
from cloud.parking.permits import letters
from cloud.parking.permits.cards import get_product
from cloud.parking.permits.service import get_permit


async def remind(conn: Conn, permit_id: int, at: datetime) -> bool:
    """Tells the holder that his card ends, or who pays for it; whether anybody was told now who was not before."""
    permit = await get_permit(conn, permit_id, at)
    if permit.valid_until is None or permit.product_id is None:
        return False
    person_id = permit.person_id
    if person_id is None and permit.account_id is not None:
        person_id = (await estate.get_account(conn, permit.account_id)).person_id
    if person_id is None:
        return False
    project = await estate.get_project(conn, permit.project_id)
    product = await get_product(conn, permit.product_id)
    last = local_day(permit.valid_until - timedelta(microseconds=1), project.zone)
    key = f"{PERMIT_ENDING}:{permit.id}:{last}"
    write = letters.ending(product.name, permit.plates, last)
    saying = Saying(person_id, PERMIT_ENDING, key, write, account_id=permit.account_id, about=("permit", permit.id))
    return bool(await notices.say(conn, project.id, [saying]))
