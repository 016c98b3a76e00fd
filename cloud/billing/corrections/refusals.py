"""Notes that were refused: the drafts are gone, who asked, who refused and why is kept."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, LiteralString

from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, newest_first

_KEEP: LiteralString = """
    INSERT INTO note_refusal (project_id, note_id, account_id, kind, total, asked_by, asked_for, refused_by, reason)
    SELECT project_id, id, account_id, kind, total, (inputs -> 'note' ->> 'asked_by')::bigint,
           coalesce(inputs -> 'note' ->> 'reason', ''), %(by)s, %(reason)s
    FROM bill WHERE id = %(note_id)s
"""
_LIST: LiteralString = """
    SELECT r.id, r.project_id, r.note_id, r.account_id, a.number AS account_number, r.kind, r.total, p.currency,
           r.asked_by, r.asked_for, r.refused_by, u.display_name AS refused_by_name, r.refused_at, r.reason
    FROM note_refusal r
    JOIN account a ON a.id = r.account_id
    JOIN project p ON p.id = r.project_id
    LEFT JOIN app_user u ON u.id = r.refused_by
    WHERE (%(project_id)s::bigint IS NULL OR r.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR r.account_id = %(account_id)s) AND r.id < %(before)s
    ORDER BY r.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A note that was not issued. `asked_for` and `reason`: why it was asked for, and why it was refused."""

    id: int
    project_id: int
    note_id: int
    account_id: int
    account_number: str
    kind: Literal["credit_note", "debit_note"]
    total: Decimal
    currency: str
    asked_by: int | None
    asked_for: str
    refused_by: int | None
    refused_by_name: str | None
    refused_at: datetime
    reason: str


async def keep(conn: Conn, note_id: int, reason: str, *, by: int | None) -> None:
    """Keeps why a draft is thrown away, while it is still there."""
    await conn.execute(_KEEP, {"note_id": note_id, "reason": reason, "by": by})


async def list_refusals(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, account_id: int | None = None
) -> Page[Refusal]:
    """Refused notes, newest first."""
    wanted = {"project_id": project_id, "account_id": account_id}
    return await newest_first(conn, _LIST, wanted, page, lambda row: Refusal(**row))
