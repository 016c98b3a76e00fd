"""Debts of plates: stays that ended with more to pay than was paid; and money that was paid for more than they cost.

Both are derived from stays, payments and waivers by the database (`parking_session.unpaid`); nothing is kept beside.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting
from cloud.devices import access
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.kit.periods import local_day
from cloud.parking.charging import debt_repository as repository
from cloud.parking.charging.debt_repository import DebtTotal, PaidPart
from cloud.parking.charging.policy import money_policy, tax_in
from cloud.parking.edge.serving import lots_of_gateways
from cloud.parking.plates import valid_plate
from cloud.parking.records import Debt
from cloud.parking.stays import repository as stays_repository
from cloud.parking.stays.service import find_session
from cloud.payments import refunds
from gateway.contract.access import AccessEntry, GoneEntry, ListEntry, Listing

_SURE_AFTER: Final = timedelta(days=1)
"""So long after a stay ended no late passage makes it dearer again, and what was paid too much is given back."""
_AT_ONCE: Final = 500
_KEY: Final = "owing-"


@dataclass(frozen=True, slots=True)
class DebtFilter:
    """Which debts are wanted; None means any. `left_from` and `left_before` bound the end of the stay."""

    project_id: int | None = None
    lot_id: int | None = None
    plate: str | None = None
    left_from: datetime | None = None
    left_before: datetime | None = None


async def owing(conn: Conn, project_id: int, plates: Sequence[str]) -> dict[str, list[Debt]]:
    """By plate what is owed for stays that are over, oldest first; plates that owe nothing are left out."""
    found: dict[str, list[Debt]] = defaultdict(list)
    for debt in await repository.debts_of(conn, project_id, plates):
        found[debt.plate].append(debt)
    return dict(found)


async def list_debts(conn: Conn, page: PageRequest, wanted: DebtFilter) -> Page[Debt]:
    """Debts, the newest stay first. Raises InvalidInput for a bad plate."""
    return await newest_first(conn, repository.LIST, _values(wanted), page, repository.debt)


async def debt_totals(conn: Conn, wanted: DebtFilter) -> list[DebtTotal]:
    """What the debts that are wanted add up to. Raises InvalidInput for a bad plate."""
    return await repository.totals(conn, _values(wanted))


async def waive(conn: Conn, session_id: int, amount: Decimal | None, reason: str, actor: str) -> Debt:
    """Nobody has to pay `amount` (None: all) of what is owed for a stay; returns the debt as it was before.

    Nothing is booked: revenue is booked when money comes, and this money never does. Who waived it and why is kept.
    Raises NotFound; InvalidInput without a reason or for a bad amount; Conflict when less is owed.
    """
    reason = billing.stated(reason)
    session = await find_session(conn, session_id)
    await stays_repository.lock_plates(conn, session.project_id, [session.plate or f"#{session.id}"])
    owed = await repository.debts_of(conn, session.project_id, [session.plate])
    debt = next((one for one in owed if one.session_id == session_id), None)
    if debt is None:
        raise Conflict("nothing-due", "nothing is due for this stay")
    wanted = debt.due if amount is None else amount
    if wanted <= 0 or wanted != round(wanted, 2):
        raise InvalidInput("bad-amount", "expected an amount above 0", field="amount")
    if wanted > debt.due:
        raise Conflict("amount-changed", f"{debt.due} {debt.currency} is due now", field="amount", due=debt.due)
    await repository.insert_waiver(conn, debt, wanted, reason, actor)
    await tell_owing(conn, debt.project_id, [debt.plate])
    return debt


async def tell_owing(conn: Conn, project_id: int, plates: Sequence[str] | None = None) -> int:
    """Tells gateways with lanes which plates owe (None: of all plates); returns how many have something new.

    A lane opens for such a plate only when the cloud says so. A project that only shows debts tells none.
    """
    gateways = sorted(await lots_of_gateways(conn, project_id))
    if not gateways:
        return 0
    await access.lock(conn, project_id, gateways)
    if (await money_policy(conn, project_id)).debts == "show":
        owes: list[str] = []
    elif plates is None:
        owes = await repository.owing_plates(conn, project_id)
    else:
        owes = sorted(await owing(conn, project_id, plates))
    entries: list[AccessEntry] = [ListEntry(f"{_KEY}{plate}", plate, Listing.OWING) for plate in owes]
    wanted = {entry.key for entry in entries if isinstance(entry, ListEntry)}
    told = 0
    for gateway_id in gateways:
        known = await access.known(conn, gateway_id, ["list"])
        theirs = [key for (_, key), holds in known.items() if holds and key.startswith(_KEY)]
        if plates is not None:
            theirs = [key for key in theirs if key.removeprefix(_KEY) in plates]
        gone = [GoneEntry("list", key) for key in theirs if key not in wanted]
        told += await access.tell(conn, project_id, [gateway_id], [*gone, *entries])
    return told


async def release_surplus(conn: Conn, project_id: int, now: datetime) -> int:
    """Puts what was paid beyond the fee of stays that are long over into the refund queue; returns how many stays.

    The last payment gives first. What was booked as revenue and tax is booked back.
    """
    found = await repository.overpaid(conn, project_id, now - _SURE_AFTER, _AT_ONCE)
    await stays_repository.lock_plates(conn, project_id, [plate or f"#{session_id}" for session_id, plate, _ in found])
    # Looked at again: a late passage may have made a stay dear, or part of another, while nobody had locked its plate.
    locked = {session_id for session_id, _, _ in found}
    again = await repository.overpaid(conn, project_id, now - _SURE_AFTER, _AT_ONCE)
    found = [one for one in again if one[0] in locked]
    day = local_day(now, (await estate.get_project(conn, project_id)).zone)
    for session_id, plate, surplus in found:
        session = await find_session(conn, session_id)
        left = surplus
        for part in await repository.parts_of(conn, session_id):
            amount = min(left, part.amount)
            if amount > 0:
                await _release(conn, project_id, part, amount, plate, session.currency, day)
            left -= amount
    return len(found)


async def _release(
    conn: Conn, project_id: int, part: PaidPart, amount: Decimal, plate: str, currency: str, day: date
) -> None:
    tax = part.tax - tax_in(part.amount - amount, part.tax_percent)
    await repository.take_off(conn, part, amount, tax)
    refund_id = await refunds.owe_back(conn, part.payment_id, amount, "fee-lower", plate)
    postings = (
        Posting("revenue:parking", amount - tax),
        Posting("tax:vat", tax),
        Posting(refunds.DUE_BACK, -amount),
    )
    journal = Journal(project_id, "refund_due", day, "payment_refund", refund_id, currency, postings)
    await billing.book(conn, [journal])


def _values(wanted: DebtFilter) -> dict[str, object]:
    return asdict(wanted) | {"plate": None if wanted.plate is None else valid_plate(wanted.plate)}
