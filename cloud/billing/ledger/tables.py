"""Trial balance, statements and receivables as files for spreadsheets."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

from starlette.responses import Response

from cloud.billing.ledger.balances import AGES, Aged, Entry, TrialBalance
from cloud.billing.ledger.chart import ExternalAccount
from cloud.estate.records import Account
from cloud.kit.money import minor_digits
from cloud.kit.paging import MAX_LIMIT, Page, PageRequest, page_request
from cloud.metering.exports.table_files import MEDIA_TYPES, Column, Row, too_many_for_xlsx, writer_of

TableType = Literal["csv", "xlsx"]
T = TypeVar("T")
LONGEST = 200_000
"""Rows of a file at most."""


async def every(fetch: Callable[[PageRequest], Awaitable[Page[T]]], key_length: int = 1) -> list[T]:
    """All rows of a list, page by page. Raises InvalidInput when there are more than LONGEST."""
    found: list[T] = []
    cursor: str | None = None
    while True:
        page = await fetch(page_request(MAX_LIMIT, cursor, key_length=key_length))
        found += page.items
        if len(found) > LONGEST:
            raise too_many_for_xlsx()
        if (cursor := page.next_cursor) is None:
            return found


def trial_table(
    name: str, form: TableType, found: TrialBalance, known: Mapping[str, ExternalAccount | None], currency: str,
    zone: ZoneInfo,
) -> Response:  # fmt: skip
    """A row for each ledger account and one for the total."""
    amounts = ("opening", "debit", "credit", "closing")
    rows: list[Row] = []
    for one in (*found.accounts, found.total):
        external = known.get(one.ledger_account)
        number, title = ("", "") if external is None else (external.code, external.name)
        rows.append((one.ledger_account or "total", number, title, *(getattr(one, amount) for amount in amounts)))
    return _file(name, form, ("ledger_account", "number", "name"), amounts, rows, currency, zone)


def statement_table(name: str, form: TableType, entries: list[Entry], currency: str, zone: ZoneInfo) -> Response:
    """A row for each posting, with the balance after it."""
    texts = ("booked_on", "occurred_on", "kind", "document", "ledger_account")
    rows: list[Row] = [
        (
            one.booked_on.isoformat(),
            one.occurred_on.isoformat(),
            one.kind,
            one.number or f"{one.source} {one.source_id}",
            one.ledger_account,
            one.amount,
            one.balance,
        )
        for one in entries
    ]
    return _file(name, form, texts, ("amount", "balance"), rows, currency, zone)


def aged_table(
    name: str, form: TableType, aged: list[Aged], accounts: Mapping[int, Account], currency: str, zone: ZoneInfo
) -> Response:
    """A row for each account that owes something."""
    rows: list[Row] = []
    for one in aged:
        account = accounts[one.account_id]
        amounts = (getattr(one, age) for age in AGES)
        rows.append((account.number, account.unit_label, account.person_name, *amounts))
    return _file(name, form, ("account", "unit", "person"), AGES, rows, currency, zone)


def _file(
    name: str, form: TableType, texts: tuple[str, ...], amounts: tuple[str, ...], rows: list[Row], currency: str,
    zone: ZoneInfo,
) -> Response:  # fmt: skip
    digits = minor_digits(currency)
    columns = [Column(text, "text") for text in texts] + [Column(amount, "decimal", digits) for amount in amounts]
    writer = writer_of(form, columns, zone)
    try:
        content = writer.add(rows) + b"".join(writer.end())
    finally:
        writer.close()
    return Response(
        content,
        media_type=MEDIA_TYPES[form],
        headers={"Content-Disposition": f'attachment; filename="{name}.{form}"', "Cache-Control": "no-store"},
    )
