"""REST: what is held for an account, its prepaid balance and its deposits, and how the balance pays bills."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from cloud.billing import service
from cloud.billing.service import LEDGER_ACCOUNTS, Entry
from cloud.estate import service as estate
from cloud.estate.records import Account, Project
from cloud.identity.guards import Scope, allow
from cloud.kit.amounts import MoneyOut
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Input, Listed, PageQuery
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("payments.read")]
Writer = Annotated[Scope, allow("payments.write")]


class HeldOut(BaseModel):
    """What is held for an account. `auto_deduct`: whether the balance pays new bills."""

    account_id: int
    balance: MoneyOut
    deposit: MoneyOut
    auto_deduct: bool


class HeldTermsIn(Input):
    """How the balance is used."""

    auto_deduct: Annotated[bool, Field(examples=[True])]


class EntryQuery(PageQuery):
    """Which statement is wanted."""

    of: Literal["balance", "deposit"] = "balance"


class HeldEntryOut(BaseModel):
    """A movement: `amount` is positive when money is added; `balance` is after it. `source` names its row."""

    id: int
    booked_on: date
    kind: Annotated[str, Field(examples=["payment"])]
    source: Annotated[str, Field(examples=["payment"])]
    source_id: int
    amount: MoneyOut
    balance: MoneyOut

    @classmethod
    def of(cls, entry: Entry, currency: str) -> "HeldEntryOut":
        """From our records: what is held is a liability, which grows by credit."""
        return cls(
            id=entry.id,
            booked_on=entry.booked_on,
            kind=entry.kind,
            source=entry.source,
            source_id=entry.source_id,
            amount=MoneyOut.of(-entry.amount, currency),
            balance=MoneyOut.of(-entry.balance, currency),
        )


class SetOffOut(BaseModel):
    """What the balance paid: principal and late fees of how many bills. `id` null: there was nothing to pay."""

    id: int | None
    principal: MoneyOut
    late_fee: MoneyOut
    bills: int


@router.get("/accounts/{account_id}/held-money")
async def get_held(scope: Reader, account_id: Id) -> HeldOut:
    """The prepaid balance and the deposits of an account."""
    return await _held(scope, *await _account(scope, account_id))


@router.put("/accounts/{account_id}/held-money")
async def set_held_terms(account_id: Id, body: HeldTermsIn, scope: Writer) -> HeldOut:
    """Switches the automatic deduction from the prepaid balance on or off."""
    account, project = await _account(scope, account_id)
    await service.set_auto_deduct(scope.conn, project.id, account_id, body.auto_deduct)
    return await _held(scope, account, project)


@router.get("/accounts/{account_id}/held-money/entries")
async def list_entries(scope: Reader, account_id: Id, query: Annotated[EntryQuery, Query()]) -> Listed[HeldEntryOut]:
    """The statement of the balance or of the deposits, newest first, from the journals."""
    _, project = await _account(scope, account_id)
    page = await service.statement(
        scope.conn, query.page(2), account_id, ledger_account=LEDGER_ACCOUNTS[query.of], newest_first=True
    )
    entries = [HeldEntryOut.of(entry, project.currency) for entry in page.items]
    return Listed(items=entries, next_cursor=page.next_cursor)


@router.post("/accounts/{account_id}/held-money/set-offs", status_code=201)
async def apply_balance(account_id: Id, scope: Writer, once: Once) -> SetOffOut:
    """Pays what the account owes from its balance, today: principal oldest due first, then late fees."""

    async def make() -> SetOffOut:
        _, project = await _account(scope, account_id)
        today, _ = await service.terms_today(scope.conn, project.id)
        made = await service.apply_balance(scope.conn, project, account_id, today)
        settlement = made.settlement if made else service.Settlement((), Decimal(0))
        return SetOffOut(
            id=made.id if made else None,
            principal=MoneyOut.of(settlement.principal, project.currency),
            late_fee=MoneyOut.of(settlement.late_fee, project.currency),
            bills=len(settlement.allocations),
        )

    return await once.answer(scope.conn, SetOffOut, make)


async def _account(scope: Scope, account_id: int) -> tuple[Account, Project]:
    account = await estate.get_account(scope.conn, account_id)
    return account, await estate.get_project(scope.conn, account.project_id)


async def _held(scope: Scope, account: Account, project: Project) -> HeldOut:
    return HeldOut(
        account_id=account.id,
        balance=MoneyOut.of(await service.held(scope.conn, account.id, "balance"), project.currency),
        deposit=MoneyOut.of(await service.held(scope.conn, account.id, "deposit"), project.currency),
        auto_deduct=await service.auto_deduct(scope.conn, account.id),
    )
