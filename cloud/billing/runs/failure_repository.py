"""SQL of the accounts that a run could not bill, and why."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.records import RunFailure
from cloud.kit.db import Conn

NOT_JUDGED = "not-judged"
"""Code of accounts with a meter that could not be judged: no draft of them is tried until it can be."""

LEFT_OUT = "left-out"
"""Code of accounts that somebody left out of the run: another one may bill them."""

_INSERT_FAILURES: LiteralString = """
    INSERT INTO bill_run_failure (project_id, run_id, account_id, code, detail)
    SELECT project_id, run_id, account_id, code, detail
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, run_id bigint, account_id bigint, code text, detail text)
    ON CONFLICT (run_id, account_id) DO UPDATE SET code = excluded.code, detail = excluded.detail
"""

_FAILURES: LiteralString = """
    SELECT f.account_id, a.number AS account_number, f.code, f.detail
    FROM bill_run_failure f JOIN account a ON a.id = f.account_id
    WHERE f.run_id = %(run_id)s AND (%(code)s::text IS NULL OR f.code = %(code)s) AND f.account_id > %(after)s
    ORDER BY f.account_id LIMIT %(limit)s
"""
_COUNTS: LiteralString = """
    SELECT code, count(*) AS accounts FROM bill_run_failure WHERE run_id = %s GROUP BY code ORDER BY count(*) DESC, code
"""
_CLEAR_DRAFTED: LiteralString = """
    DELETE FROM bill_run_failure f USING bill b
    WHERE f.run_id = %s AND b.run_id = f.run_id AND b.account_id = f.account_id AND b.state = 'draft'
"""


async def failures(conn: Conn, run_id: int, *, code: str | None, after: int, limit: int) -> list[RunFailure]:
    """Accounts the run could not bill, by id, those behind `after`; with one reason, where it is named."""
    values = {"run_id": run_id, "code": code, "after": after, "limit": limit}
    return [RunFailure(**row) for row in await (await conn.execute(_FAILURES, values)).fetchall()]


async def counts_by_code(conn: Conn, run_id: int) -> dict[str, int]:
    """How many accounts the run could not bill, by reason, the most frequent first."""
    return {row["code"]: row["accounts"] for row in await (await conn.execute(_COUNTS, (run_id,))).fetchall()}


async def failed_accounts(conn: Conn, run_id: int, but: str = "") -> set[int]:
    """All accounts the run could not bill, but those with this reason."""
    query = "SELECT account_id FROM bill_run_failure WHERE run_id = %s AND code <> %s"
    return {row["account_id"] for row in await (await conn.execute(query, (run_id, but))).fetchall()}


async def insert_failures(conn: Conn, rows: Sequence[Mapping[str, object]]) -> None:
    """Notes why accounts were not billed; a repetition replaces the reason."""
    await conn.execute(_INSERT_FAILURES, (Jsonb(list(rows)),))


async def clear_failures(conn: Conn, run_id: int) -> None:
    """Forgets why an earlier attempt of the same run made no drafts."""
    query = "DELETE FROM bill_run_failure WHERE run_id = %s AND code <> ALL (%s)"
    await conn.execute(query, (run_id, [NOT_JUDGED, LEFT_OUT]))


async def clear_unjudged(conn: Conn, run_id: int) -> None:
    """Forgets the accounts with meters that an earlier attempt of the same run could not judge."""
    await conn.execute("DELETE FROM bill_run_failure WHERE run_id = %s AND code = %s", (run_id, NOT_JUDGED))


async def clear_drafted(conn: Conn, run_id: int) -> None:
    """Forgets why accounts that have a draft of the run all the same could not be billed: issuing is tried again."""
    await conn.execute(_CLEAR_DRAFTED, (run_id,))
