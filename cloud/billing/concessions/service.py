"""Concessions as people file, approve and end them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal

import psycopg

from cloud.billing.arrears.rules import must_be_another
from cloud.billing.concessions import repository
from cloud.billing.concessions.reductions import POSITIONS, Kind, Rule
from cloud.billing.concessions.repository import ChargedAlready, ConcessionFilter, ConcessionRow
from cloud.billing.corrections.adjustments import Cause
from cloud.billing.corrections.late_usage import WantedReRating, ask_to_rerate
from cloud.billing.runs.drafting import lock_charges
from cloud.billing.terms.service import terms_today
from cloud.estate import service as estate
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period

__all__ = [
    "ConcessionFilter",
    "ConcessionRow",
    "NewConcession",
    "approve_concession",
    "ask_for_all",
    "end_concession",
    "file_concession",
    "get_concession",
    "list_concessions",
    "rerate_conceded",
    "withdraw_concession",
]


@dataclass(frozen=True, slots=True)
class NewConcession:
    """What is filed: for an account, an agreement or a unit. See `concessions.Concession`."""

    rule: Rule
    name: str
    kind: Kind
    value: Decimal
    valid_from: date | None
    valid_until: date | None
    reason: str
    account_id: int | None = None
    agreement_id: int | None = None
    unit_id: int | None = None
    services: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    position: int | None = None


async def file_concession(
    conn: Conn, project_id: int, new: NewConcession, created_by: int | None = None
) -> ConcessionRow:
    """Files a concession; it takes nothing off before somebody approves it.

    Raises InvalidInput without the days it is filed for, or for a value that does not fit its kind; NotFound for an
    unknown account, agreement or unit.
    """
    _check(new, minor_digits((await estate.get_project(conn, project_id)).currency))
    position = POSITIONS[new.rule] if new.position is None else new.position
    values = asdict(new) | {
        "project_id": project_id,
        "position": position,
        "services": list(new.services),
        "components": list(new.components),
        "created_by": created_by,
    }
    try:
        async with conn.transaction():
            return await repository.insert(conn, values)
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def list_concessions(conn: Conn, page: PageRequest, wanted: ConcessionFilter) -> Page[ConcessionRow]:
    """Concessions by id."""
    found = await repository.concessions(conn, wanted, after=after_id(page), limit=page.limit + 1)
    return cut(found, page, lambda row: (row.terms.id,))


async def get_concession(conn: Conn, concession_id: int) -> ConcessionRow:
    """One concession. Raises NotFound."""
    return _found(await repository.concession(conn, concession_id), concession_id)


async def approve_concession(conn: Conn, concession_id: int, by: int | None, approval: str) -> ConcessionRow:
    """Approves a concession, and why: runs take it off from now on. Asked again, the first approval stays.

    What bills charged already of its days is rated again by a job for each account, and becomes adjustments. Raises
    NotFound, InvalidInput without a reason, Conflict while a draft charges some of its days, or when the approver filed
    it himself and the terms of the project want two.
    """
    if not approval.strip():
        raise InvalidInput("no-reason", "expected why it is approved", field="reason")
    await lock_charges(conn, (await get_concession(conn, concession_id)).project_id)
    row = _found(await repository.locked(conn, concession_id), concession_id)
    if row.approved_at is None:
        _, policy = await terms_today(conn, row.project_id)
        must_be_another(row.created_by, by, policy)
        await repository.approve(conn, concession_id, by, approval.strip())
        subject = {"account_id": row.account_id, "agreement_id": row.agreement_id, "unit_id": row.unit_id}
        await rerate_conceded(conn, row.project_id, row.terms.valid, by=by, **subject)
    return await get_concession(conn, concession_id)


async def rerate_conceded(
    conn: Conn,
    project_id: int,
    valid: Period,
    *,
    by: int | None = None,
    account_id: int | None = None,
    agreement_id: int | None = None,
    unit_id: int | None = None,
) -> None:
    """Asks for a re-rating of all that bills charged already for days of `valid`, by the concessions of now.

    Raises Conflict while a draft charges some of these days.
    """
    charged = await repository.charged_already(
        conn, project_id, valid, account_id=account_id, agreement_id=agreement_id, unit_id=unit_id
    )
    await ask_for_all(conn, charged, "concession", by=by)


async def ask_for_all(
    conn: Conn, charged: Sequence[ChargedAlready], cause: Cause, *, since: date = date.min, by: int | None = None
) -> None:
    """Asks for a re-rating of accounts, at the earliest from `since` on. Raises Conflict while one has a draft."""
    if any(one.drafted for one in charged):
        raise Conflict("draft-waits", "a draft charges these days: issue or cancel that run first")
    for one in charged:
        await ask_to_rerate(conn, WantedReRating(one.account_id, max(one.since, since), cause), by=by)


async def end_concession(conn: Conn, concession_id: int, day: date) -> ConcessionRow:
    """Ends a concession: `day` is the first day without it.

    Raises NotFound; InvalidInput unless the day is within it; Conflict where bills took it off for days after.
    """
    await lock_charges(conn, (await get_concession(conn, concession_id)).project_id)
    row = _found(await repository.locked(conn, concession_id), concession_id)
    valid = row.terms.valid
    if not valid.start < day <= valid.end:
        raise InvalidInput("bad-dates", f"expected a day after {valid.start}, not after its end", field="day")
    applied = await repository.applied_until(conn, concession_id)
    if applied is not None and applied > day:
        raise Conflict(
            "charged-beyond", f"bills took it off until {applied}: end it then, or correct them", field="day"
        )
    await repository.end(conn, concession_id, day)
    return await get_concession(conn, concession_id)


async def withdraw_concession(conn: Conn, concession_id: int) -> None:
    """Takes back what nobody has approved. Raises NotFound; Conflict once it is approved."""
    row = _found(await repository.locked(conn, concession_id), concession_id)
    if row.approved_at is not None:
        raise Conflict("already-approved", "it is approved: it can only be ended")
    await repository.delete(conn, concession_id)


def _found(row: ConcessionRow | None, concession_id: int) -> ConcessionRow:
    if row is None:
        raise NotFound("no-such-concession", f"there is no concession {concession_id}", field="concession_id")
    return row


def _check(new: NewConcession, digits: int) -> None:
    subjects = [one for one in (new.account_id, new.agreement_id, new.unit_id) if one is not None]
    if len(subjects) != 1:
        raise InvalidInput(
            "one-subject", "expected an account, an agreement or a unit: one of them", field="account_id"
        )
    if new.valid_from is None:
        raise InvalidInput("no-filed-dates", "a concession needs the day from which it is filed", field="valid_from")
    if new.rule == "vacancy" and new.valid_until is None:
        raise InvalidInput("no-filed-dates", "a vacancy is filed from a day until a day", field="valid_until")
    if new.valid_until is not None and new.valid_until <= new.valid_from:
        raise InvalidInput("bad-dates", "expected a day after valid_from", field="valid_until")
    if new.kind == "amount" and new.agreement_id is None:
        raise InvalidInput("amount-needs-agreement", "an amount is taken off one agreement", field="agreement_id")
    _check_value(new.kind, new.value, digits)


def _check_value(kind: Kind, value: Decimal, digits: int) -> None:
    expected = {
        "percent": (0 < value <= 100, "more than 0, at most 100 percent"),
        "factor": (0 <= value < 1, "the share still owed: from 0 up to, not including, 1"),
        "amount": (value > 0 and value == round(value, digits), f"an amount above 0 with at most {digits} decimals"),
    }
    fits, what = expected[kind]
    if not fits:
        raise InvalidInput("bad-concession", f"expected {what}", field="value")
