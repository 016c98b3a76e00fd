"""Held money that leaves: refunds of balances and deposits, deposits set off against bills; two people decide."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, LiteralString

from cloud.billing import service as billing
from cloud.billing.service import Held, Journal, Policy, Posting
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest, newest_first
from cloud.payments.deposits import get_deposit
from cloud.payments.receiving import METHODS, account_of, check_money

Action = Literal["refund", "set-off"]
ReleaseState = Literal["asked", "approved", "rejected"]

_RELEASE: LiteralString = """
    SELECT id, project_id, account_id, deposit_id, action, amount, currency, method, reason, state, asked_by, asked_at,
           decided_by, decided_at, done_on, set_off_id, note
    FROM release
"""
_RELEASES: LiteralString = (
    _RELEASE
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR account_id = %(account_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_INSERT: LiteralString = """
    INSERT INTO release (project_id, account_id, deposit_id, action, amount, currency, method, reason, asked_by)
    VALUES (%(project_id)s, %(account_id)s, %(deposit_id)s, %(action)s, %(amount)s, %(currency)s, %(method)s,
            %(reason)s, %(by)s)
    RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE release SET state = %(state)s, decided_by = %(by)s, decided_at = now(), note = %(note)s, done_on = %(on)s,
                       set_off_id = %(set_off_id)s
    WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Release:
    """Held money that somebody asks to let go: of a deposit, or (`deposit_id` None) of the prepaid balance."""

    id: int
    project_id: int
    account_id: int
    deposit_id: int | None
    action: Action
    amount: Decimal
    currency: str
    method: str | None
    reason: str
    state: ReleaseState
    asked_by: int | None
    asked_at: datetime
    decided_by: int | None
    decided_at: datetime | None
    done_on: date | None
    set_off_id: int | None
    note: str

    @property
    def source(self) -> Held:
        """What it is taken from."""
        return "balance" if self.deposit_id is None else "deposit"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: a refund by `method`, or a deposit to pay what the account owes (`method` None)."""

    amount: Decimal
    reason: str
    method: str | None = None
    deposit_id: int | None = None

    @property
    def action(self) -> Action:
        """A refund names how the money goes out."""
        return "set-off" if self.method is None else "refund"


async def ask_release(conn: Conn, account_id: int, wanted: Wanted, *, by: int | None) -> Release:
    """Asks to refund a balance or deposit, or to pay bills from a deposit.

    Raises NotFound; InvalidInput without a reason, for a bad amount or method, for more than is held, and for a
    balance that is to pay bills: it does so without asking.
    """
    reason = billing.stated(wanted.reason)
    _, project = await account_of(conn, account_id)
    check_money(project, wanted.amount, wanted.method or METHODS[0])
    if wanted.deposit_id is None and wanted.action == "set-off":
        raise InvalidInput("bad-method", "a balance pays bills by itself: say how to refund it", field="method")
    if wanted.amount > await _held(conn, account_id, wanted.deposit_id):
        raise InvalidInput("more-than-held", "more than is held", field="amount")
    values = {
        "project_id": project.id,
        "account_id": account_id,
        "deposit_id": wanted.deposit_id,
        "action": wanted.action,
        "amount": wanted.amount,
        "currency": project.currency,
        "method": wanted.method,
        "reason": reason,
        "by": by,
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return await get_release(conn, row["id"])


async def approve_release(
    conn: Conn, release_id: int, policy: Policy, note: str = "", *, by: int | None, today: date
) -> Release:
    """Lets the money go, today, and books it.

    Raises NotFound; Conflict when it was decided, when the approver asked for it himself and `policy` wants two, or
    when less is held by now; InvalidInput when less is owed than is to be set off.
    """
    found = await _waiting(conn, release_id)
    billing.must_be_another(found.asked_by, by, policy)
    await billing.lock_held(conn, [found.account_id])
    if found.amount > await _held(conn, found.account_id, found.deposit_id):
        raise Conflict("amount-changed", "less is held by now")
    set_off_id = None
    if found.action == "set-off":
        project = await estate.get_project(conn, found.project_id)
        made = await billing.set_off_deposit(conn, project, found.account_id, found.amount, today)
        set_off_id = made.id
    else:
        await _refund(conn, found, today)
    return await _decide(conn, found, "approved", note, by, today, set_off_id)


async def reject_release(conn: Conn, release_id: int, note: str, *, by: int | None) -> Release:
    """The money stays. Raises NotFound; Conflict when it was decided; InvalidInput without a reason."""
    found = await _waiting(conn, release_id)
    return await _decide(conn, found, "rejected", billing.stated(note), by, None, None)


async def get_release(conn: Conn, release_id: int) -> Release:
    """One release. Raises NotFound."""
    row = await (await conn.execute(_RELEASE + "WHERE id = %s", (release_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-release", f"there is no release {release_id}", field="release_id")
    return Release(**row)


async def list_releases(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    state: ReleaseState | None = None,
) -> Page[Release]:
    """Releases, newest first."""
    wanted = {"project_id": project_id, "account_id": account_id, "state": state}
    return await newest_first(conn, _RELEASES, wanted, page, lambda row: Release(**row))


async def _held(conn: Conn, account_id: int, deposit_id: int | None) -> Decimal:
    if deposit_id is None:
        return await billing.held(conn, account_id, "balance")
    deposit = await get_deposit(conn, deposit_id)
    if deposit.account_id != account_id:
        raise NotFound("no-such-deposit", f"account {account_id} has no deposit {deposit_id}", field="deposit_id")
    return deposit.held


async def _refund(conn: Conn, found: Release, today: date) -> None:
    postings = (
        Posting(billing.LEDGER_ACCOUNTS[found.source], found.amount, found.account_id),
        Posting(f"cash:{found.method}", -found.amount),
    )
    journal = Journal(found.project_id, "refund", today, "release", found.id, found.currency, postings)
    await billing.book(conn, [journal])


async def _waiting(conn: Conn, release_id: int) -> Release:
    await conn.execute("SELECT FROM release WHERE id = %s FOR UPDATE", (release_id,))
    found = await get_release(conn, release_id)
    billing.must_wait(found.state)
    return found


async def _decide(
    conn: Conn, found: Release, state: ReleaseState, note: str, by: int | None, on: date | None, set_off_id: int | None
) -> Release:
    values = {"id": found.id, "state": state, "by": by, "note": note.strip()[:1000], "on": on, "set_off_id": set_off_id}
    await conn.execute(_DECIDE, values)
    return await get_release(conn, found.id)
