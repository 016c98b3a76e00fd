"""The refund queue: money that came beyond what was due. It is given back or kept, by somebody and with a reason."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final, Literal, LiteralString, get_args

from cloud.billing import service as billing
from cloud.billing.service import Journal, Posting
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.kit.periods import local_day
from cloud.payments.receiving import METHODS

RefundReason = Literal["paid-twice", "order-over", "fee-lower", "stay-gone"]
RefundState = Literal["open", "asked", "refunded", "kept"]
RefundDecision = Literal["refund", "keep"]
STATES: Final[tuple[RefundState, ...]] = get_args(RefundState)
DUE_BACK: Final = "liability:refund"
KEPT: Final = "revenue:unclaimed"

_REFUND: LiteralString = """
    SELECT r.id, r.project_id, r.payment_id, p.method AS paid_by, p.reference AS paid_reference, r.amount, r.currency,
           r.reason, r.subject, r.state, r.reference, r.method, r.provider_id, r.failure, r.note, r.decided_by,
           r.decided_at, r.done_on, r.looks, r.created_at
    FROM payment_refund r JOIN payment p ON p.id = r.payment_id
"""
_LIST: LiteralString = (
    _REFUND
    + """
    WHERE (%(project_id)s::bigint IS NULL OR r.project_id = %(project_id)s)
      AND (%(state)s::text IS NULL OR r.state = %(state)s)
      AND (%(subject)s::text IS NULL OR r.subject = %(subject)s) AND r.id < %(before)s
    ORDER BY r.id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO payment_refund (project_id, payment_id, amount, currency, reason, subject)
    SELECT project_id, id, %(amount)s, currency, %(reason)s, %(subject)s FROM payment WHERE id = %(payment_id)s
    RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE payment_refund SET state = %(state)s, method = %(method)s, note = %(note)s, decided_by = %(by)s,
                              decided_at = %(now)s, done_on = %(on)s, failure = NULL, look_at = %(now)s, looks = 0
    WHERE id = %(id)s
"""
_DONE: LiteralString = """
    UPDATE payment_refund SET state = 'refunded', provider_id = %s, done_on = %s, failure = NULL WHERE id = %s
"""
_REOPEN: LiteralString = """
    UPDATE payment_refund SET state = 'open', method = NULL, decided_by = NULL, decided_at = NULL, failure = %s
    WHERE id = %s
"""


@dataclass(frozen=True, slots=True)
class Refund:
    """Part of a payment that is to go back. `method`: how it goes, once somebody has decided; `failure`: why the
    provider did not give it back. `subject` says what had been paid for.
    """

    id: int
    project_id: int
    payment_id: int
    paid_by: str
    paid_reference: str
    amount: Decimal
    currency: str
    reason: RefundReason
    subject: str
    state: RefundState
    reference: str
    method: str | None
    provider_id: str | None
    failure: str | None
    note: str
    decided_by: int | None
    decided_at: datetime | None
    done_on: date | None
    looks: int
    created_at: datetime

    @property
    def by_provider(self) -> bool:
        """Whether a provider took the money, and can be asked to give it back."""
        return self.paid_by in ("wechat", "alipay") and bool(self.paid_reference)


async def owe_back(conn: Conn, payment_id: int, amount: Decimal, reason: RefundReason, subject: str = "") -> int:
    """Puts part of a payment into the queue and returns its id there. Whoever calls it books it on `DUE_BACK`."""
    values = {"payment_id": payment_id, "amount": amount, "reason": reason, "subject": subject[:100]}
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None, "a payment is written down before part of it is owed back"
    return int(row["id"])


async def decide(
    conn: Conn,
    refund_id: int,
    decision: RefundDecision,
    note: str,
    *,
    method: str | None = None,
    by: int | None,
    now: datetime | None = None,
) -> Refund:
    """Gives the money back by `method`, or keeps it as income.

    Without a method the provider that took it is asked, which the worker does. Raises NotFound; Conflict when it was
    decided; InvalidInput without a reason, for a bad method, and without one where no provider took the money.
    """
    note = billing.stated(note)
    await conn.execute("SELECT FROM payment_refund WHERE id = %s FOR UPDATE", (refund_id,))
    found = await get_refund(conn, refund_id)
    if found.state != "open":
        raise Conflict("refund-decided", f"the refund is {found.state}")
    if decision == "keep" and method is not None:
        raise InvalidInput("bad-method", "what is kept goes out by no method", field="method")
    if decision == "refund" and ((method is None and not found.by_provider) or method not in (None, *METHODS)):
        raise InvalidInput("bad-method", f"expected one of {', '.join(METHODS)}", field="method")
    moment = now or datetime.now(UTC)
    today = local_day(moment, (await estate.get_project(conn, found.project_id)).zone)
    asked = decision == "refund" and method is None
    state: RefundState = "kept" if decision == "keep" else "asked" if asked else "refunded"
    values = {
        "id": refund_id,
        "state": state,
        "method": found.paid_by if asked else method,
        "note": note,
        "by": by,
        "now": moment,
        "on": None if asked else today,
    }
    await conn.execute(_DECIDE, values)
    if not asked:
        await _book(conn, found, KEPT if decision == "keep" else f"cash:{method}", today)
    return await get_refund(conn, refund_id)


async def given_back(conn: Conn, found: Refund, provider_id: str, today: date) -> None:
    """The provider has given it back: done and booked. For a refund that is `asked`."""
    await conn.execute(_DONE, (provider_id, today, found.id))
    await _book(conn, found, f"cash:{found.paid_by}", today)


async def refused(conn: Conn, refund_id: int, failure: str) -> None:
    """The provider will not give it back: somebody has to decide anew."""
    await conn.execute(_REOPEN, (failure[:200], refund_id))


async def get_refund(conn: Conn, refund_id: int) -> Refund:
    """One refund. Raises NotFound."""
    row = await (await conn.execute(_REFUND + "WHERE r.id = %s", (refund_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-refund", f"there is no refund {refund_id}", field="refund_id")
    return Refund(**row)


async def list_refunds(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    state: RefundState | None = None,
    subject: str | None = None,
) -> Page[Refund]:
    """The queue and what became of it, newest first."""
    wanted = {"project_id": project_id, "state": state, "subject": subject}
    return await newest_first(conn, _LIST, wanted, page, lambda row: Refund(**row))


async def _book(conn: Conn, found: Refund, to: str, today: date) -> None:
    postings = (Posting(DUE_BACK, found.amount), Posting(to, -found.amount))
    source = "payment_refund"
    if to == KEPT:
        journal = Journal(found.project_id, "refund_kept", today, source, found.id, found.currency, postings)
    else:
        journal = Journal(found.project_id, "refund", today, source, found.id, found.currency, postings)
    await billing.book(conn, [journal])
