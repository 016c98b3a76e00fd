"""Money held for accounts, prepaid balances and deposits: what there is, and how it pays bills."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing import repository
from cloud.billing.ledger import journals as ledger
from cloud.billing.ledger.journals import Journal, Posting
from cloud.billing.settlement.settling import Settlement, Source, paid_postings, share, write
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput

Held = Literal["balance", "deposit"]

LEDGER_ACCOUNTS: Final[dict[Held, str]] = {"balance": ledger.PREPAID, "deposit": ledger.DEPOSIT}

# For a whole chunk of a run at once; most accounts hold nothing and fall out here.
_BALANCES: LiteralString = """
    SELECT p.account_id, -sum(p.amount) AS amount
    FROM posting p LEFT JOIN account_terms t ON t.account_id = p.account_id
    WHERE p.account_id = ANY (%(account_ids)s) AND p.ledger_account = 'liability:prepaid'
      AND (%(by_hand)s OR coalesce(t.auto_deduct, true))
    GROUP BY p.account_id HAVING sum(p.amount) < 0
"""
# Whoever takes from what is held of an account waits here: it is never spent twice.
_LOCK: LiteralString = "SELECT id FROM account WHERE id = ANY (%s) ORDER BY id FOR NO KEY UPDATE"
_INSERT: LiteralString = """
    INSERT INTO set_off (project_id, account_id, source, amount, currency, set_off_on, created_by)
    SELECT %(project_id)s, account_id, %(source)s, amount, %(currency)s, %(on)s, gm.user_id()
    FROM jsonb_to_recordset(%(rows)s) AS new (account_id bigint, amount numeric)
    RETURNING id, account_id
"""
_TERMS: LiteralString = "SELECT auto_deduct FROM account_terms WHERE account_id = %s"
_SET_TERMS: LiteralString = """
    INSERT INTO account_terms (project_id, account_id, auto_deduct) VALUES (%s, %s, %s)
    ON CONFLICT (account_id) DO UPDATE SET auto_deduct = excluded.auto_deduct
"""


@dataclass(frozen=True, slots=True)
class SetOff:
    """Held money that paid bills."""

    id: int
    settlement: Settlement


async def deduct(conn: Conn, project: Project, account_ids: Sequence[int], on: date) -> dict[int, SetOff]:
    """Pays unpaid bills of these accounts from their prepaid balances, oldest due first; what was paid, by account.

    Accounts that do not want it are left alone. The same few statements for one account and for thousands.
    """
    holding = await that_pay(conn, account_ids)
    if not holding:
        return {}
    await lock_held(conn, holding)
    balances = await _balances(conn, holding, by_hand=False)
    shared = await share(conn, balances, on, fees=False)
    return await _set_off(conn, project, "balance", shared, on)


async def apply_balance(conn: Conn, project: Project, account_id: int, on: date) -> SetOff | None:
    """Pays what an account owes, late fees too, from its prepaid balance, whatever its terms; None: nothing to pay."""
    await lock_held(conn, [account_id])
    balances = await _balances(conn, [account_id], by_hand=True)
    if not balances:
        return None
    shared = await share(conn, balances, on)
    return (await _set_off(conn, project, "balance", shared, on)).get(account_id)


async def set_off_deposit(conn: Conn, project: Project, account_id: int, amount: Decimal, on: date) -> SetOff:
    """Pays what an account owes from its deposits. Raises InvalidInput when it owes less than `amount`."""
    await lock_held(conn, [account_id])
    shared = await share(conn, {account_id: amount}, on)
    if shared[account_id].surplus:
        owed = amount - shared[account_id].surplus
        raise InvalidInput("more-than-owed", f"only {owed} is owed", field="amount")
    return (await _set_off(conn, project, "deposit", shared, on))[account_id]


async def that_pay(conn: Conn, account_ids: Sequence[int]) -> list[int]:
    """Those of these accounts whose balance would pay a bill by itself."""
    return list(await _balances(conn, account_ids, by_hand=False))


async def lock_to_settle(conn: Conn, account_ids: Sequence[int], bill_ids: Sequence[int] = ()) -> None:
    """Locks all that is settled in this transaction at once: accounts by id, then their unpaid bills, and these, by id.

    The one order of all who change what is owed: accounts, bills, and only then what hangs on bills (instalment plans,
    disputes, late fees) and the series of their numbers. Whoever settles in several steps locks for all of them first:
    the bills of a second step may be older than those of the first.
    """
    await lock_held(conn, account_ids)
    await repository.lock_to_settle(conn, account_ids, bill_ids)


async def lock_held(conn: Conn, account_ids: Sequence[int]) -> None:
    """Nobody else takes from what these accounts hold before this transaction ends."""
    await conn.execute(_LOCK, (list(account_ids),))


async def held(conn: Conn, account_id: int, what: Held) -> Decimal:
    """What is held for an account."""
    return -await ledger.balance(conn, account_id, LEDGER_ACCOUNTS[what])


async def auto_deduct(conn: Conn, account_id: int) -> bool:
    """Whether the balance of an account pays its new bills."""
    row = await (await conn.execute(_TERMS, (account_id,))).fetchone()
    return True if row is None else bool(row["auto_deduct"])


async def set_auto_deduct(conn: Conn, project_id: int, account_id: int, wanted: bool) -> None:
    """Switches the automatic deduction of an account on or off."""
    await conn.execute(_SET_TERMS, (project_id, account_id, wanted))


async def _balances(conn: Conn, account_ids: Sequence[int], *, by_hand: bool) -> dict[int, Decimal]:
    values = {"account_ids": list(account_ids), "by_hand": by_hand}
    rows = await (await conn.execute(_BALANCES, values)).fetchall()
    return {row["account_id"]: row["amount"] for row in rows}


async def _set_off(
    conn: Conn, project: Project, what: Held, shared: dict[int, Settlement], on: date
) -> dict[int, SetOff]:
    """Writes and books what held money pays; accounts of which it pays nothing are left out."""
    used = {account_id: one.principal + one.late_fee for account_id, one in shared.items()}
    amounts = {account_id: amount for account_id, amount in used.items() if amount}
    values = {
        "project_id": project.id,
        "source": what,
        "currency": project.currency,
        "on": on,
        "rows": Jsonb([{"account_id": account_id, "amount": amount} for account_id, amount in amounts.items()]),
    }
    rows = await (await conn.execute(_INSERT, values)).fetchall()
    made = {row["account_id"]: SetOff(row["id"], shared[row["account_id"]]) for row in rows}
    await write(conn, [(Source(project.id, on, set_off_id=one.id), one.settlement) for one in made.values()])
    journals = [
        Journal(
            project.id,
            "set-off",
            on,
            "set_off",
            one.id,
            project.currency,
            (
                Posting(LEDGER_ACCOUNTS[what], amounts[account_id], account_id),
                *paid_postings(account_id, one.settlement),
            ),
        )
        for account_id, one in made.items()
    ]
    await ledger.book(conn, journals)
    return made
