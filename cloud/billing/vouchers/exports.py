"""Files of vouchers that were made of a month: every one is recorded, a closed month is always the same file."""

import hashlib
import zlib
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString

from cloud.billing.ledger import accounts as ledger_accounts
from cloud.billing.ledger import months as accounting_months
from cloud.billing.vouchers.files import FILE_MEDIA_TYPES, FileType, file_type, voucher_file
from cloud.billing.vouchers.layouts import Context, Layout
from cloud.billing.vouchers.making import Booked, Grouping, Voucher, vouchers
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import Period, month_of

MAX_LINES = 100_000
"""More lines than this make no file: of so many journals vouchers are put together by day."""

_BY_DAY: LiteralString = """
    SELECT j.booked_on AS day, j.kind, 0 AS journal, p.ledger_account,
           coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0) AS debit,
           coalesce(-sum(p.amount) FILTER (WHERE p.amount < 0), 0) AS credit,
           max(n.documents) AS documents, '' AS reference
    FROM journal j JOIN posting p ON p.journal_id = j.id
    JOIN (SELECT booked_on, kind, count(*) AS documents FROM journal
          WHERE project_id = %(project_id)s AND booked_on >= %(start)s AND booked_on < %(end)s
          GROUP BY booked_on, kind) AS n ON n.booked_on = j.booked_on AND n.kind = j.kind
    WHERE j.project_id = %(project_id)s AND j.booked_on >= %(start)s AND j.booked_on < %(end)s
    GROUP BY j.booked_on, j.kind, p.ledger_account LIMIT %(limit)s
"""
_BY_JOURNAL: LiteralString = """
    SELECT j.booked_on AS day, j.kind, j.id AS journal, p.ledger_account,
           coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0) AS debit,
           coalesce(-sum(p.amount) FILTER (WHERE p.amount < 0), 0) AS credit,
           1 AS documents, max(coalesce(b.number, j.source || ' ' || j.source_id)) AS reference
    FROM journal j JOIN posting p ON p.journal_id = j.id
    LEFT JOIN bill b ON j.source = 'bill' AND b.id = j.source_id
    WHERE j.project_id = %(project_id)s AND j.booked_on >= %(start)s AND j.booked_on < %(end)s
    GROUP BY j.booked_on, j.kind, j.id, p.ledger_account LIMIT %(limit)s
"""
_EXPORT: LiteralString = """
    SELECT id, project_id, month, layout, file_type, grouping, closing_id, vouchers, lines, total, sha256, same_as,
           exported_by, exported_at
    FROM voucher_export
"""
_LIST: LiteralString = _EXPORT + "WHERE project_id = %s AND id < %s ORDER BY id DESC LIMIT %s"
_ONE: LiteralString = _EXPORT + "WHERE id = %s"
_EARLIER: LiteralString = (
    _EXPORT
    + """WHERE closing_id = %(closing_id)s AND month = %(month)s AND layout = %(layout)s
         AND file_type = %(file_type)s AND grouping = %(grouping)s AND same_as IS NULL"""
)
_INSERT: LiteralString = """
    INSERT INTO voucher_export (project_id, month, layout, file_type, grouping, closing_id, vouchers, lines, total,
                                sha256, same_as, content, exported_by)
    VALUES (%(project_id)s, %(month)s, %(layout)s, %(file_type)s, %(grouping)s, %(closing_id)s, %(vouchers)s,
            %(lines)s, %(total)s, %(sha256)s, %(same_as)s, %(content)s, %(exported_by)s)
    ON CONFLICT DO NOTHING RETURNING id
"""
_CONTENT: LiteralString = """
    SELECT coalesce(e.content, first.content) AS content
    FROM voucher_export e LEFT JOIN voucher_export first ON first.id = e.same_as WHERE e.id = %s
"""
# Nobody closes or opens a month while a file is made of it.
_HOLD: LiteralString = "SELECT pg_advisory_xact_lock_shared(gm.accounting_lock(%s))"


@dataclass(frozen=True, slots=True)
class VoucherExport:
    """A file that was made: of which month, how, by whom; `total` is the debit of all vouchers and their credit."""

    id: int
    project_id: int
    month: date
    layout: Layout
    file_type: FileType
    grouping: Grouping
    closing_id: int | None
    vouchers: int
    lines: int
    total: Decimal
    sha256: str
    same_as: int | None
    exported_by: int | None
    exported_at: datetime

    @property
    def media_type(self) -> str:
        """Content type of the file."""
        return FILE_MEDIA_TYPES[self.file_type]

    def name(self, project: Project) -> str:
        """File name: vouchers-sunshine-2026-01-k3.xlsx."""
        return f"vouchers-{project.code}-{self.month:%Y-%m}-{self.layout}.{self.file_type}"


async def export_vouchers(
    conn: Conn,
    project_id: int,
    month: date,
    layout: Layout = "plain",
    wanted: FileType | None = None,
    grouping: Grouping = "day",
    exported_by: int | None = None,
) -> VoucherExport:
    """Makes the file of a month and records it. Of a closed month the first file of its kind is given again.

    Raises NotFound for an unknown project, InvalidInput for a day that is not the first of a month, a kind of file that
    the layout has not, or more than MAX_LINES lines, Conflict when nothing is booked or an account has no number.
    """
    if month.day != 1:
        raise InvalidInput("bad-month", f"expected the first day of a month, got {month}", field="month")
    form = file_type(layout, wanted)
    project = await estate.get_project(conn, project_id)
    await conn.execute(_HOLD, (project_id,))
    closing = await accounting_months.closing_of(conn, project_id, month)
    values: dict[str, Any] = {
        "project_id": project_id,
        "month": month,
        "layout": layout,
        "file_type": form,
        "grouping": grouping,
        "closing_id": None if closing is None else closing.id,
        "exported_by": exported_by,
    }
    if (earlier := await _earlier(conn, values)) is not None:
        return await _again(conn, values, earlier)
    made = await month_vouchers(conn, project_id, month_of(month), grouping)
    context = Context(project.code, project.name, project.currency, month)
    content = voucher_file(layout, form, context, made, project.zone)
    values |= {
        "vouchers": len(made),
        "lines": sum(len(voucher.lines) for voucher in made),
        "total": sum((voucher.total for voucher in made), Decimal(0)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "same_as": None,
        "content": zlib.compress(content),
    }
    row = await (await conn.execute(_INSERT, values)).fetchone()
    if row is not None:
        return await get_export(conn, row["id"])
    # Somebody made the same at the same moment: his is the first.
    earlier = await _earlier(conn, values)
    assert earlier is not None
    return await _again(conn, values, earlier)


async def _earlier(conn: Conn, values: dict[str, Any]) -> VoucherExport | None:
    if values["closing_id"] is None:
        return None
    row = await (await conn.execute(_EARLIER, values)).fetchone()
    return None if row is None else VoucherExport(**row)


async def _again(conn: Conn, values: dict[str, Any], earlier: VoucherExport) -> VoucherExport:
    same = {
        "vouchers": earlier.vouchers,
        "lines": earlier.lines,
        "total": earlier.total,
        "sha256": earlier.sha256,
        "same_as": earlier.id,
        "content": None,
    }
    row = await (await conn.execute(_INSERT, values | same)).fetchone()
    assert row is not None
    return await get_export(conn, row["id"])


async def month_vouchers(conn: Conn, project_id: int, period: Period, grouping: Grouping) -> list[Voucher]:
    """The vouchers of what was booked in `period`. Raises InvalidInput, Conflict as `export_vouchers`."""
    values = {"project_id": project_id, "start": period.start, "end": period.end, "limit": MAX_LINES + 1}
    rows = await (await conn.execute(_BY_JOURNAL if grouping == "journal" else _BY_DAY, values)).fetchall()
    if not rows:
        raise Conflict("nothing-booked", f"nothing is booked in {period.start:%Y-%m}")
    if len(rows) > MAX_LINES:
        raise InvalidInput(
            "too-many-rows", f"more than {MAX_LINES} lines: put vouchers together by day", field="grouping"
        )
    booked = [Booked(**row) for row in rows]
    accounts = await ledger_accounts.external_accounts(conn, project_id, {row.ledger_account for row in booked})
    return vouchers(booked, accounts)


async def list_exports(conn: Conn, page: PageRequest, project_id: int) -> Page[VoucherExport]:
    """Files that were made of a project, newest first."""
    rows = await (await conn.execute(_LIST, (project_id, after_id(page, MAX_ID), page.limit + 1))).fetchall()
    return cut([VoucherExport(**row) for row in rows], page, lambda one: (one.id,))


async def get_export(conn: Conn, export_id: int) -> VoucherExport:
    """One file that was made. Raises NotFound."""
    row = await (await conn.execute(_ONE, (export_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-export", f"there is no voucher export {export_id}", field="export_id")
    return VoucherExport(**row)


async def content(conn: Conn, export_id: int) -> bytes:
    """The bytes of a file that was made. Raises NotFound."""
    row = await (await conn.execute(_CONTENT, (export_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-export", f"there is no voucher export {export_id}", field="export_id")
    return zlib.decompress(row["content"])
