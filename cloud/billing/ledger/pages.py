"""Pages of the ledger: trial balance, receivables by age, statements, chart of accounts, months, vouchers, proofs."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Form, Query, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing.ledger import accounts as ledger_accounts
from cloud.billing.ledger import balances, proof
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.api import file_answer
from cloud.billing.ledger.chart import ExternalAccount
from cloud.billing.ledger.tables import TableType, aged_table, every, statement_table, trial_table
from cloud.billing.vouchers import exports as voucher_exports
from cloud.billing.vouchers.files import FILE_TYPES, FileType
from cloud.billing.vouchers.layouts import Layout
from cloud.billing.vouchers.making import Grouping
from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.inputs import Day
from cloud.kit.paging import page_request
from cloud.kit.periods import Period, local_day, month_of, next_month, previous_month
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.metering.consumption.months_shown import month_shown

router = page_router()

_Reads = Annotated[Scope, allow_page("ledger.read")]
_Writes = Annotated[Scope, allow_page("ledger.write")]
_Closes = Annotated[Scope, allow_page("ledger.close")]
_Format = Literal["", "csv", "xlsx"]


def _today(page: Shown) -> date:
    return local_day(datetime.now(UTC), page.project.zone)


def _table(form: _Format) -> TableType | None:
    return form or None


@router.get("/ledger")
async def trial_balance(
    request: Request,
    scope: _Reads,
    since: Annotated[Day | None, Query(alias="from")] = None,
    until: Day | None = None,
    form: Annotated[_Format, Query(alias="format")] = "",
) -> Response:
    """The trial balance, of this month unless other days are asked for; `until` is the last day that counts."""
    page = await shown(request, scope)
    month = month_of(_today(page))
    start = since or month.start
    last = until or max(start, month.end - timedelta(days=1))
    if last < start:
        raise InvalidInput("bad-dates", "expected the last day not before the first", field="until")
    period = Period(start, last + timedelta(days=1))
    found = await balances.trial_balance(scope.conn, page.project.id, period)
    codes = [one.ledger_account for one in found.accounts]
    known = await ledger_accounts.known_accounts(scope.conn, page.project.id, codes)
    if table := _table(form):
        name = f"trial-balance-{start}-{last}"
        return trial_table(name, table, found, known, page.project.currency, page.project.zone)
    return page.page("ledger/trial_balance.html", found=found, known=known, start=start, last=last)


@router.get("/ledger/receivables")
async def receivables(
    request: Request,
    scope: _Reads,
    as_of: Day | None = None,
    cursor: str | None = None,
    form: Annotated[_Format, Query(alias="format")] = "",
) -> Response:
    """What accounts owe, by the days since it was due."""
    page = await shown(request, scope)
    conn, project = scope.conn, page.project
    day = as_of or _today(page)
    if table := _table(form):
        rows = await every(lambda wanted: balances.receivables_by_age(conn, wanted, project.id, day))
        names = await estate.accounts_by_id(conn, [one.account_id for one in rows])
        return aged_table(f"receivables-{day}", table, rows, names, project.currency, project.zone)
    found = await balances.receivables_by_age(conn, page_request(None, cursor), project.id, day)
    return page.page(
        "ledger/receivables.html",
        found=found,
        total=await balances.receivables_total(conn, project.id, day),
        ages=balances.AGES[1:],
        accounts=await estate.accounts_by_id(conn, [one.account_id for one in found.items]),
        as_of=day,
    )


@router.get("/ledger/statements/{account_id}")
async def statement(
    request: Request,
    scope: _Reads,
    account_id: int,
    ledger_account: OptionalText = None,
    since: Annotated[OptionalText, Query(alias="from")] = None,
    until: OptionalText = None,
    cursor: str | None = None,
    form: Annotated[_Format, Query(alias="format")] = "",
) -> Response:
    """All postings of one customer's account, with the running balance."""
    page = await shown(request, scope)
    conn = scope.conn
    account = (await estate.accounts_by_id(conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    project = await estate.get_project(conn, account.project_id)
    start, last = _day(since, "from"), _day(until, "until")
    end = None if last is None else last + timedelta(days=1)
    if table := _table(form):
        rows = await every(
            lambda wanted: balances.statement(
                conn, wanted, account_id, ledger_account=ledger_account, start=start, end=end
            ),
            key_length=2,
        )
        return statement_table(f"statement-{account_id}", table, rows, project.currency, project.zone)
    found = await balances.statement(
        conn, page_request(None, cursor, key_length=2), account_id, ledger_account=ledger_account, start=start, end=end
    )
    return page.page(
        "ledger/statement.html",
        account=account,
        currency=project.currency,
        found=found,
        ledger_account=ledger_account or "",
        start=start,
        last=last,
    )


def _day(text: str | None, field: str) -> date | None:
    if text is None:
        return None
    try:
        found = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("bad-date", "expected a day such as 2026-01-31", field=field) from error
    if not 1900 <= found.year <= 2199:
        raise InvalidInput("bad-date", "expected a day from 1900 to 2199", field=field)
    return found


@router.get("/ledger/accounts")
async def accounts(request: Request, scope: _Reads) -> Response:
    """The chart of accounts."""
    page = await shown(request, scope)
    return page.page("ledger/accounts.html", chart=await ledger_accounts.chart(scope.conn, page.project.id))


@router.post("/ledger/accounts")
async def set_account(
    request: Request,
    scope: _Writes,
    code: Annotated[str, Form(min_length=1, max_length=100)],
    number: Annotated[str, Form(max_length=30)] = "",
    name: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Sets number and name of an account; empty: the usual ones again."""
    page = await shown(request, scope)
    if number.strip() or name.strip():
        external = ExternalAccount(number.strip(), name.strip())
        await ledger_accounts.set_account(scope.conn, page.project.id, code, external)
    else:
        await ledger_accounts.use_default(scope.conn, page.project.id, code)
    return RedirectResponse("/ledger/accounts?done=saved", 303)


@router.get("/ledger/months")
async def months(request: Request, scope: _Reads, cursor: str | None = None) -> Response:
    """Closed months, and the form that closes the next one."""
    page = await shown(request, scope)
    last = await accounting_months.last_closed(scope.conn, page.project.id)
    finished = previous_month(_today(page)).start
    return page.page(
        "ledger/months.html",
        found=await accounting_months.list_months(scope.conn, page_request(None, cursor), page.project.id),
        last=last,
        proposed=finished if last is None else next_month(last.month),
        finished=finished,
    )


@router.post("/ledger/months")
async def close_month(request: Request, scope: _Closes, month: Annotated[str, Form(max_length=10)]) -> Response:
    """Closes a month."""
    page = await shown(request, scope)
    first = month_shown(month, page.project.zone).start
    await accounting_months.close_month(scope.conn, page.project.id, first, scope.caller.user_id)
    return RedirectResponse("/ledger/months?done=month-closed", 303)


@router.post("/ledger/months/{month_id}/reopen")
async def reopen_month(scope: _Closes, month_id: int, reason: Annotated[str, Form(max_length=500)]) -> Response:
    """Opens the month that was closed last again."""
    await accounting_months.reopen_month(scope.conn, month_id, reason, scope.caller.user_id)
    return RedirectResponse("/ledger/months?done=month-reopened", 303)


@router.get("/ledger/vouchers")
async def vouchers(request: Request, scope: _Reads, cursor: str | None = None) -> Response:
    """Files of vouchers that were made, and the form that makes one."""
    page = await shown(request, scope)
    return page.page(
        "ledger/vouchers.html",
        found=await voucher_exports.list_exports(scope.conn, page_request(None, cursor), page.project.id),
        proposed=previous_month(_today(page)).start,
        file_types=FILE_TYPES,
    )


@router.post("/ledger/vouchers")
async def export_vouchers(
    request: Request,
    scope: _Writes,
    month: Annotated[str, Form(max_length=10)],
    layout: Annotated[str, Form(max_length=30)],
    sent: FormOnce,
    grouping: Annotated[Grouping, Form()] = "day",
) -> Response:
    """Makes the file of a month; `layout` names the kind of file too: k3.xlsx."""
    page = await shown(request, scope)
    known: dict[str, tuple[Layout, FileType]] = {
        f"{one}.{form}": (one, form) for one, forms in FILE_TYPES.items() for form in forms
    }
    if layout not in known:
        raise InvalidInput("bad-file-type", f"expected one of {', '.join(known)}", field="layout")
    first = month_shown(month, page.project.zone).start

    async def export() -> str:
        await voucher_exports.export_vouchers(
            scope.conn, page.project.id, first, *known[layout], grouping, scope.caller.user_id
        )
        return "/ledger/vouchers?done=vouchers-made"

    return await sent.lead(scope.conn, export)


@router.get("/ledger/vouchers/{export_id}/file")
async def export_file(scope: _Reads, export_id: int) -> Response:
    """The file itself."""
    return await file_answer(scope, export_id)


@router.get("/ledger/proofs")
async def proofs(request: Request, scope: _Reads, cursor: str | None = None) -> Response:
    """The history of proofs that ledger, bills and payments agree."""
    page = await shown(request, scope)
    found = await proof.list_proofs(scope.conn, page_request(None, cursor), page.project.id)
    return page.page("ledger/proofs.html", found=found)


@router.post("/ledger/proofs")
async def prove(request: Request, scope: _Writes, sent: FormOnce) -> Response:
    """Proves the ledger now."""
    page = await shown(request, scope)

    async def again() -> str:
        await proof.prove(scope.conn, page.project.id)
        return "/ledger/proofs?done=proved"

    return await sent.lead(scope.conn, again)
