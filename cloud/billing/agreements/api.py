"""REST: service agreements of every kind."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query

from cloud.billing import service
from cloud.billing.agreements.models import (
    AgreementDetailOut,
    AgreementIn,
    AgreementOut,
    AgreementQuery,
    BilledAreaIn,
    BilledAreaOut,
    BilledAreaQuery,
    EndIn,
    OneOffIn,
    PackageIn,
    RentChangeIn,
    RentIn,
    TakingBackIn,
    TaxStepIn,
)
from cloud.billing.records import Agreement
from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.db import Conn
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Runner = Annotated[Scope, allow("bills.run")]


@router.get("/service-agreements")
async def list_agreements(scope: Reader, query: Annotated[AgreementQuery, Query()]) -> Listed[AgreementDetailOut]:
    """Service agreements by id, with the terms of rents; residents see their own."""
    page = await service.list_agreements(
        scope.conn,
        query.page(),
        project_id=query.project_id,
        account_id=query.account_id,
        kind=query.kind,
        on=query.valid_on,
    )
    return Listed(items=await _told(scope.conn, page.items), next_cursor=page.next_cursor)


@router.get("/service-agreements/{agreement_id}")
async def get_agreement(scope: Reader, agreement_id: Id) -> AgreementDetailOut:
    """One agreement, with the terms of its rent or package and its taxes."""
    return (await _told(scope.conn, [await service.get_agreement(scope.conn, agreement_id)]))[0]


@router.post("/service-agreements", status_code=201)
async def create_agreement(body: AgreementIn, scope: Runner, once: Once) -> AgreementOut:
    """Agrees what an account is charged for by a tariff from a day on."""

    async def make() -> AgreementOut:
        made = await service.create_agreement(scope.conn, **body.model_dump())
        return (await _told(scope.conn, [made]))[0]

    return await once.answer(scope.conn, AgreementOut, make)


@router.post("/rents", status_code=201)
async def create_rent(body: RentIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Agrees on a rent: a service agreement of kind `rent`.

    An instalment in advance is billed by the run whose period ends where it begins: the rent of February with the bill
    of January.
    """

    async def make() -> AgreementDetailOut:
        made, _ = await service.create_rent(scope.conn, body.project_id, body.new())
        return (await _told(scope.conn, [made]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.post("/packages", status_code=201)
async def create_package(body: PackageIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Sells several services together for a price between two days: a service agreement of kind `package`.

    Charges of what it contains stay on the bill with all their lines, and one that takes them off again.
    """

    async def make() -> AgreementDetailOut:
        made, _ = await service.create_rent(scope.conn, body.project_id, body.new())
        return (await _told(scope.conn, [made]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.post("/service-agreements/{agreement_id}/rent-changes", status_code=201)
async def change_rent(agreement_id: Id, body: RentChangeIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Agrees on other amounts of a rent or a package from a day on, which may be past: bills get adjustments."""

    async def make() -> AgreementDetailOut:
        steps = [service.RentStep(step.from_day, step.amount) for step in body.steps]
        return (await _told(scope.conn, [await service.change_rent(scope.conn, agreement_id, steps)]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.post("/service-agreements/{agreement_id}/taxes", status_code=201)
async def change_tax(agreement_id: Id, body: TaxStepIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Agrees on another tax of a rent, package or one-off charge from a day on; bills get adjustments."""

    async def make() -> AgreementDetailOut:
        return (await _told(scope.conn, [await service.change_tax(scope.conn, agreement_id, body.step())]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.post("/service-agreements/{agreement_id}/takings-back", status_code=201)
async def take_back(agreement_id: Id, body: TakingBackIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Takes a one-off charge back; where a bill charged it, an adjustment gives it back."""

    async def make() -> AgreementDetailOut:
        return (await _told(scope.conn, [await service.take_back(scope.conn, agreement_id, body.reason)]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.get("/billed-areas")
async def list_areas(scope: Runner, query: Annotated[BilledAreaQuery, Query()]) -> Listed[BilledAreaOut]:
    """Floor areas filed by date, by id; before the first of a unit its own area is billed."""
    page = await service.list_areas(scope.conn, query.page(), project_id=query.project_id, unit_id=query.unit_id)
    return Listed(items=[BilledAreaOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/billed-areas", status_code=201)
async def file_area(body: BilledAreaIn, scope: Runner, once: Once) -> BilledAreaOut:
    """Files the billed floor area of a unit from a day on; what bills charged from then on is rated again by jobs."""

    async def make() -> BilledAreaOut:
        return BilledAreaOut.of(await service.file_area(scope.conn, **body.model_dump(), by=scope.caller.user_id))

    return await once.answer(scope.conn, BilledAreaOut, make)


@router.post("/one-off-charges", status_code=201)
async def create_one_off(body: OneOffIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Charges an amount once: a service agreement of kind `one_off` for a day."""

    async def make() -> AgreementDetailOut:
        made = await service.create_one_off(
            scope.conn,
            body.project_id,
            body.account_id,
            body.category,
            body.description,
            body.amount,
            body.day,
            body.unit_id,
            None if body.tax is None else service.Tax(body.tax.percent, body.tax.inclusive),
        )
        return (await _told(scope.conn, [made]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.post("/service-agreements/{agreement_id}/endings", status_code=201)
async def end_agreement(agreement_id: Id, body: EndIn, scope: Runner, once: Once) -> AgreementDetailOut:
    """Ends an agreement: a rent or a package that was paid for later days is given back by an adjustment.

    By a tariff it ends on a day that no bill has charged beyond.
    """

    async def make() -> AgreementDetailOut:
        return (await _told(scope.conn, [await service.end_agreement(scope.conn, agreement_id, body.day)]))[0]

    return await once.answer(scope.conn, AgreementDetailOut, make)


@router.delete("/service-agreements/{agreement_id}", status_code=204)
async def withdraw_agreement(agreement_id: Id, scope: Runner) -> None:
    """Takes an agreement back of which nothing was charged."""
    await service.withdraw_agreement(scope.conn, agreement_id)


async def _told(conn: Conn, agreements: Sequence[Agreement]) -> list[AgreementDetailOut]:
    rents, taxes = await service.rents_of(conn, agreements), await service.taxes_of(conn, agreements)
    currencies = {project.id: project.currency for project in await estate.projects(conn)}
    return [
        AgreementDetailOut.whole(one, rents.get(one.id), taxes.get(one.id, ()), currencies[one.project_id])
        for one in agreements
    ]
