"""REST: trial balance, statements, receivables by age, chart of accounts, closed months, proofs, voucher files."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Query
from starlette.responses import Response

from cloud.billing.ledger import accounts as ledger_accounts
from cloud.billing.ledger import balances, proof
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.chart import ExternalAccount
from cloud.billing.ledger.models import (
    AgedOut,
    AgedQuery,
    Code,
    EntryOut,
    ExportIn,
    ExportOut,
    LedgerAccountIn,
    LedgerAccountOut,
    MonthIn,
    MonthOut,
    ProofOut,
    RangeQuery,
    ReopeningIn,
    StatementQuery,
    TrialBalanceOut,
    first_day,
)
from cloud.billing.vouchers import exports as voucher_exports
from cloud.billing.vouchers.files import FILE_MEDIA_TYPES
from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import NotFound
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, PageQuery
from cloud.kit.periods import local_day
from cloud.kit.routing import rest_router

router = rest_router("billing", "ledger")

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_FILE: Final[Mapping[int | str, dict[str, Any]]] = {
    200: {"description": "The file.", "content": dict.fromkeys(sorted(set(FILE_MEDIA_TYPES.values())), _BINARY)}
}

Reader = Annotated[Scope, allow("ledger.read")]
Writer = Annotated[Scope, allow("ledger.write")]
Closer = Annotated[Scope, allow("ledger.close")]


@router.get("/projects/{project_id}/trial-balance")
async def trial_balance(scope: Reader, project_id: Id, query: Annotated[RangeQuery, Query()]) -> TrialBalanceOut:
    """Opening, debit, credit and closing of every ledger account over some days."""
    project = await estate.get_project(scope.conn, project_id)
    found = await balances.trial_balance(scope.conn, project_id, query.period())
    codes = [one.ledger_account for one in found.accounts]
    known = await ledger_accounts.known_accounts(scope.conn, project_id, codes)
    return TrialBalanceOut.of(project_id, found, known, project.currency)


@router.get("/accounts/{account_id}/statement")
async def statement(scope: Reader, account_id: Id, query: Annotated[StatementQuery, Query()]) -> Listed[EntryOut]:
    """Everything that was posted to a customer's account, oldest first, with the balance after each posting."""
    account = (await estate.accounts_by_id(scope.conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    project = await estate.get_project(scope.conn, account.project_id)
    page = await balances.statement(
        scope.conn, query.page(2), account_id, ledger_account=query.ledger_account, start=query.start, end=query.to
    )
    return Listed(items=[EntryOut.of(one, project.currency) for one in page.items], next_cursor=page.next_cursor)


@router.get("/projects/{project_id}/receivables-by-age")
async def receivables_by_age(scope: Reader, project_id: Id, query: Annotated[AgedQuery, Query()]) -> Listed[AgedOut]:
    """What accounts owe, by the days since it was due; accounts that owe nothing are left out."""
    project = await estate.get_project(scope.conn, project_id)
    as_of = query.as_of or local_day(datetime.now(UTC), project.zone)
    page = await balances.receivables_by_age(scope.conn, query.page(), project_id, as_of)
    return Listed(items=[AgedOut.of(one, project.currency) for one in page.items], next_cursor=page.next_cursor)


@router.get("/projects/{project_id}/ledger-accounts")
async def list_ledger_accounts(scope: Reader, project_id: Id) -> Listed[LedgerAccountOut]:
    """The chart of accounts: ours, and the numbers and names that the accounting software knows them by."""
    await estate.get_project(scope.conn, project_id)
    found = await ledger_accounts.chart(scope.conn, project_id)
    return Listed(items=[LedgerAccountOut.of(one) for one in found], next_cursor=None)


@router.put("/projects/{project_id}/ledger-accounts/{code}", status_code=204)
async def set_ledger_account(scope: Writer, project_id: Id, code: Code, body: LedgerAccountIn) -> None:
    """Sets number and name of one of our accounts, or of all that begin with it: `revenue` for all revenue."""
    await estate.get_project(scope.conn, project_id)
    await ledger_accounts.set_account(scope.conn, project_id, code, ExternalAccount(body.number, body.name))


@router.delete("/projects/{project_id}/ledger-accounts/{code}", status_code=204)
async def use_default_account(scope: Writer, project_id: Id, code: Code) -> None:
    """Goes back to the usual number and name."""
    await estate.get_project(scope.conn, project_id)
    await ledger_accounts.use_default(scope.conn, project_id, code)


@router.get("/projects/{project_id}/accounting-months")
async def list_months(scope: Reader, project_id: Id, query: Annotated[PageQuery, Query()]) -> Listed[MonthOut]:
    """Closings of months, newest first."""
    await estate.get_project(scope.conn, project_id)
    page = await accounting_months.list_months(scope.conn, query.page(), project_id)
    return Listed(items=[MonthOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/projects/{project_id}/accounting-months", status_code=201)
async def close_month(scope: Closer, project_id: Id, body: MonthIn, once: Once) -> MonthOut:
    """Closes a month: nothing is booked into it or before it any more. Refused while the ledger's proof fails."""

    async def make() -> MonthOut:
        month = first_day(body.month)
        return MonthOut.of(await accounting_months.close_month(scope.conn, project_id, month, scope.caller.user_id))

    return await once.answer(scope.conn, MonthOut, make)


@router.post("/accounting-months/{month_id}/reopenings", status_code=201)
async def reopen_month(scope: Closer, month_id: Id, body: ReopeningIn, once: Once) -> MonthOut:
    """Opens the month that was closed last again, with the reason."""

    async def make() -> MonthOut:
        return MonthOut.of(
            await accounting_months.reopen_month(scope.conn, month_id, body.reason, scope.caller.user_id)
        )

    return await once.answer(scope.conn, MonthOut, make)


@router.get("/projects/{project_id}/ledger-proofs")
async def list_proofs(scope: Reader, project_id: Id, query: Annotated[PageQuery, Query()]) -> Listed[ProofOut]:
    """Proofs that ledger, bills and payments agree, newest first; made every night."""
    await estate.get_project(scope.conn, project_id)
    page = await proof.list_proofs(scope.conn, query.page(), project_id)
    return Listed(items=[ProofOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/projects/{project_id}/ledger-proofs", status_code=201)
async def prove(scope: Writer, project_id: Id, once: Once) -> ProofOut:
    """Proves the ledger now."""

    async def make() -> ProofOut:
        await estate.get_project(scope.conn, project_id)
        made, _ = await proof.prove(scope.conn, project_id)
        return ProofOut.of(made)

    return await once.answer(scope.conn, ProofOut, make)


@router.get("/projects/{project_id}/voucher-exports")
async def list_exports(scope: Reader, project_id: Id, query: Annotated[PageQuery, Query()]) -> Listed[ExportOut]:
    """Files of vouchers that were made, newest first."""
    project = await estate.get_project(scope.conn, project_id)
    page = await voucher_exports.list_exports(scope.conn, query.page(), project_id)
    return Listed(items=[ExportOut.of(one, project.currency) for one in page.items], next_cursor=page.next_cursor)


@router.post("/projects/{project_id}/voucher-exports", status_code=201)
async def export_vouchers(scope: Writer, project_id: Id, body: ExportIn, once: Once) -> ExportOut:
    """Makes the file of a month's vouchers. Of a closed month it is always the same file, byte by byte."""

    async def make() -> ExportOut:
        project = await estate.get_project(scope.conn, project_id)
        made = await voucher_exports.export_vouchers(
            scope.conn, project_id, first_day(body.month), body.layout, body.file_type, body.grouping,
            scope.caller.user_id,
        )  # fmt: skip
        return ExportOut.of(made, project.currency)

    return await once.answer(scope.conn, ExportOut, make)


@router.get("/voucher-exports/{export_id}/file", response_class=Response, responses=dict(_FILE))
async def export_file(scope: Reader, export_id: Id) -> Response:
    """The file itself."""
    return await file_answer(scope, export_id)


async def file_answer(scope: Scope, export_id: int) -> Response:
    """A file of vouchers as a download. Raises NotFound."""
    made = await voucher_exports.get_export(scope.conn, export_id)
    project = await estate.get_project(scope.conn, made.project_id)
    return Response(
        await voucher_exports.content(scope.conn, export_id),
        media_type=made.media_type,
        headers={
            "Content-Disposition": f'attachment; filename="{made.name(project)}"',
            "Cache-Control": "no-store",
        },
    )
