"""Agreements changed: ended, rents and taxes agreed otherwise, charges taken back, floor areas filed.

What bills charged already of the days that a change is about becomes adjustments: they name original bill, line and
period, and the next bill, the final bill or a note takes them up.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import psycopg

from cloud.billing.agreements import area_repository
from cloud.billing.agreements import repository as agreed_repository
from cloud.billing.agreements.area_repository import BilledArea
from cloud.billing.agreements.rents import RentStep
from cloud.billing.agreements.rerating import rerate_agreement
from cloud.billing.agreements.service import get_agreement, locked_agreement
from cloud.billing.agreements.taxes import TaxStep
from cloud.billing.concessions.repository import charged_already
from cloud.billing.concessions.service import ask_for_all, rerate_conceded
from cloud.billing.records import Agreement
from cloud.billing.runs.drafting import lock_charges
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period

_RENTS = ("rent", "package")
_LAST = date(9999, 12, 31)


async def _held(conn: Conn, agreement_id: int) -> Agreement:
    """The agreement, locked, after nobody makes or revises charges of its project any more. Raises NotFound."""
    await lock_charges(conn, (await get_agreement(conn, agreement_id)).project_id)
    return await locked_agreement(conn, agreement_id)


async def end_agreement(conn: Conn, agreement_id: int, day: date) -> Agreement:
    """Ends an agreement: `day` is the first day without it.

    What was paid in advance of a rent or a package for later days is given back by an adjustment. Raises NotFound;
    InvalidInput unless the day is within the agreement; Conflict where a draft charges days after it, or a bill does by
    a tariff: those are corrected first.
    """
    agreement = await _held(conn, agreement_id)
    last = agreement.valid_until or date.max
    if agreement.kind == "one_off" or not agreement.valid_from < day <= last:
        raise InvalidInput("bad-dates", f"expected a day after {agreement.valid_from}, not after its end", field="day")
    given_back = agreement.kind in _RENTS
    charged = await agreed_repository.charged_until(conn, agreement_id, drafts_only=given_back)
    if charged is not None and charged > day:
        raise Conflict("charged-beyond", f"bills charge it until {charged}: end it then, or correct them", field="day")
    await agreed_repository.end_agreement(conn, agreement_id, day)
    if given_back:
        await rerate_agreement(conn, agreement.project_id, agreement_id, day)
    if agreement.kind == "package" and day < last:
        await rerate_conceded(conn, agreement.project_id, Period(day, last), account_id=agreement.account_id)
    return await get_agreement(conn, agreement_id)


async def change_rent(conn: Conn, agreement_id: int, steps: Sequence[RentStep]) -> Agreement:
    """Agrees on other amounts of a rent or a package from the first of `steps` on, in place of those known so far.

    Raises NotFound; InvalidInput for another kind, for steps that are not in order or lie outside the agreement;
    Conflict while a draft charges these days.
    """
    agreement = await _held(conn, agreement_id)
    if agreement.kind not in _RENTS:
        raise InvalidInput("not-a-rent", "only a rent or a package has amounts by date", field="agreement_id")
    days = [step.from_day for step in steps]
    last = agreement.valid_until or date.max
    if not days or days != sorted(set(days)) or days[0] < agreement.valid_from or days[-1] >= last:
        raise InvalidInput("bad-steps", "expected steps within the agreement, in order of time", field="steps")
    await agreed_repository.replace_steps(conn, agreement, days[0], steps)
    await rerate_agreement(conn, agreement.project_id, agreement_id, days[0])
    return agreement


async def change_tax(conn: Conn, agreement_id: int, step: TaxStep) -> Agreement:
    """Agrees on another tax from a day on. Raises like `change_rent`; InvalidInput where a tariff says the tax."""
    agreement = await _held(conn, agreement_id)
    if agreement.kind == "tariff":
        raise InvalidInput("tariff-says-it", "the tax of this agreement is in its tariff", field="agreement_id")
    await agreed_repository.put_tax(conn, agreement, step)
    await rerate_agreement(conn, agreement.project_id, agreement_id, step.from_day)
    return agreement


async def take_back(conn: Conn, agreement_id: int, reason: str) -> Agreement:
    """Takes a one-off charge back, also where a bill charged it: an adjustment gives it back. Asked again: nothing.

    Raises NotFound; InvalidInput for another kind or without a reason; Conflict while a draft charges it.
    """
    agreement = await _held(conn, agreement_id)
    if agreement.kind != "one_off":
        raise InvalidInput("not-a-one-off", "only a one-off charge is taken back: end it instead", field="agreement_id")
    if not reason.strip():
        raise InvalidInput("no-reason", "expected why it is taken back", field="reason")
    if agreement.taken_back:
        return agreement
    await agreed_repository.take_back(conn, agreement_id, reason.strip())
    await rerate_agreement(conn, agreement.project_id, agreement_id, agreement.valid_from)
    return await get_agreement(conn, agreement_id)


async def file_area(
    conn: Conn, project_id: int, unit_id: int, from_day: date, area: Decimal, reason: str, *, by: int | None = None
) -> BilledArea:
    """Files the billed floor area of a unit from a day on, which may be past.

    Bills that charge days from then on are rated again by a job for each account. Raises NotFound for an unknown unit,
    Conflict where an area is filed from that day already, or a draft charges these days.
    """
    values = {
        "project_id": project_id,
        "unit_id": unit_id,
        "from_day": from_day,
        "area": area,
        "reason": reason,
        "created_by": by,
    }
    await lock_charges(conn, project_id)
    try:
        async with conn.transaction():
            filed = await area_repository.insert(conn, values)
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error
    charged = await charged_already(conn, project_id, Period(from_day, _LAST), unit_id=unit_id)
    await ask_for_all(conn, charged, "area", since=from_day, by=by)
    return filed


async def list_areas(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, unit_id: int | None = None
) -> Page[BilledArea]:
    """Filed areas by id."""
    found = await area_repository.areas(
        conn, project_id=project_id, unit_id=unit_id, after=after_id(page), limit=page.limit + 1
    )
    return cut(found, page, lambda row: (row.id,))
