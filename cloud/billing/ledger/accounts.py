"""Which account of the accounting software each ledger account is, as a project keeps it."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import LiteralString

import psycopg

from cloud.billing.ledger.chart import DEFAULTS, Class, ExternalAccount, class_of, external
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput

_OWN: LiteralString = "SELECT code, external_code, external_name FROM ledger_account WHERE project_id = %s"
_USED: LiteralString = "SELECT DISTINCT ledger_account AS code FROM posting WHERE project_id = %s"
_SET: LiteralString = """
    INSERT INTO ledger_account (project_id, code, external_code, external_name) VALUES (%s, %s, %s, %s)
    ON CONFLICT (project_id, code) DO UPDATE
    SET external_code = excluded.external_code, external_name = excluded.external_name
"""
_FORGET: LiteralString = "DELETE FROM ledger_account WHERE project_id = %s AND code = %s"


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """One of our accounts (or what several begin with) and its number and name in the software, where known.

    `own`: the project set it; else it is the usual one. `used`: something is booked on it.
    """

    project_id: int
    code: str
    kind: Class
    external: ExternalAccount | None
    own: bool
    used: bool


async def chart(conn: Conn, project_id: int) -> list[LedgerAccount]:
    """All accounts that are used, set or usual, by code."""
    own = await _own(conn, project_id)
    used = {row["code"] for row in await (await conn.execute(_USED, (project_id,))).fetchall()}
    return [
        LedgerAccount(project_id, code, class_of(code), external(code, own), code in own, code in used)
        for code in sorted({*own, *used, *DEFAULTS})
    ]


async def external_accounts(conn: Conn, project_id: int, codes: Collection[str]) -> dict[str, ExternalAccount]:
    """The account of the software for each code. Raises Conflict naming those that have none."""
    own = await _own(conn, project_id)
    found = {code: external(code, own) for code in codes}
    unknown = sorted(code for code, account in found.items() if account is None)
    if unknown:
        raise Conflict(
            "no-account-number", f"no number is set for {', '.join(unknown)}: set it in the chart of accounts"
        )
    return {code: account for code, account in found.items() if account is not None}


async def known_accounts(conn: Conn, project_id: int, codes: Collection[str]) -> dict[str, ExternalAccount | None]:
    """Like `external_accounts`, with None for those without a number."""
    own = await _own(conn, project_id)
    return {code: external(code, own) for code in codes}


async def set_account(conn: Conn, project_id: int, code: str, account: ExternalAccount) -> None:
    """Sets number and name of one of our accounts, or of all that begin with it.

    Raises InvalidInput for a number with other characters than digits, letters, dot, dash and underscore.
    """

    try:
        async with conn.transaction():
            await conn.execute(_SET, (project_id, code, account.code, account.name))
    except psycopg.errors.CheckViolation as error:
        raise InvalidInput("bad-code", "expected up to 30 digits, letters, dots or dashes", field="code") from error


async def use_default(conn: Conn, project_id: int, code: str) -> None:
    """Forgets what the project set: the usual account is used again."""
    await conn.execute(_FORGET, (project_id, code))


async def _own(conn: Conn, project_id: int) -> dict[str, ExternalAccount]:
    rows = await (await conn.execute(_OWN, (project_id,))).fetchall()
    return {row["code"]: ExternalAccount(row["external_code"], row["external_name"]) for row in rows}
