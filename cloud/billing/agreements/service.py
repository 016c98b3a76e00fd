"""Agreements of every kind: made, listed, withdrawn while nothing was charged."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import psycopg

from cloud.billing import repository
from cloud.billing.agreements import repository as agreed_repository
from cloud.billing.agreements.rents import Rent, RentStep, rises
from cloud.billing.agreements.taxes import TaxStep
from cloud.billing.concessions.service import rerate_conceded
from cloud.billing.records import Agreement, AgreementKind
from cloud.billing.runs.drafting import lock_charges
from cloud.estate import service as estate
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.kit.paging import Page, PageRequest, after_id, cut
from cloud.kit.periods import Period
from cloud.tariffs.model.registers import Source

_LONGEST_INSTALMENT = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class NewAgreement:
    """What `create_agreements` wants to know of each; `unit_id` defaults to the unit of the account."""

    account_id: int
    service: str
    tariff_id: int | None
    valid_from: date
    meter_id: int | None = None
    unit_id: int | None = None
    valid_until: date | None = None
    capacity_va: int | None = None
    area: Decimal | None = None
    single: bool = False
    kind: AgreementKind = "tariff"
    amount: Decimal | None = None
    description: str = ""
    time_of_use: Source | None = None
    registers: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rise:
    """A rent that rises by `percent` of itself every `every_months`; each step rounded half up."""

    percent: Decimal
    every_months: int


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax of `percent`, on top of an amount or contained in it."""

    percent: Decimal
    inclusive: bool


@dataclass(frozen=True, slots=True)
class NewRent:
    """A rent of `amount` for `per_months`, paid every `every_months`, counted from `anchor` (the first day without).

    Later amounts are said as `steps`, or as a `rise` of a lease that has an end. `per_area`: amounts are for a square
    metre. `taxes` by date. What `contains` services is a package: it pays for them, has an end, and its `description`
    is what bills call it.
    """

    account_id: int
    service: str
    valid_from: date
    amount: Decimal
    valid_until: date | None = None
    unit_id: int | None = None
    per_months: int = 1
    every_months: int = 1
    in_advance: bool = True
    anchor: date | None = None
    steps: tuple[RentStep, ...] = ()
    rise: Rise | None = None
    description: str = ""
    per_area: bool = False
    taxes: tuple[TaxStep, ...] = ()
    contains: tuple[str, ...] = ()


async def create_agreement(
    conn: Conn,
    project_id: int,
    account_id: int,
    service: str,
    tariff_id: int,
    meter_id: int | None,
    unit_id: int | None,
    valid_from: date,
    valid_until: date | None = None,
    *,
    capacity_va: int | None = None,
    area: Decimal | None = None,
    single: bool = False,
    time_of_use: Source | None = None,
    registers: Mapping[str, Any] | None = None,
) -> Agreement:
    """What an account is charged for from a day on. Raises like `create_agreements`."""
    basis = (capacity_va, area, single)
    new = replace(
        NewAgreement(account_id, service, tariff_id, valid_from, meter_id, unit_id, valid_until, *basis),
        time_of_use=time_of_use,
        registers=registers,
    )
    return (await create_agreements(conn, project_id, [new]))[0]


async def create_agreements(conn: Conn, project_id: int, new: Sequence[NewAgreement]) -> list[Agreement]:
    """Many agreements of one project in one statement.

    Raises InvalidInput for dates in the wrong order and for registers without a meter, NotFound for an unknown account,
    tariff, meter or unit, Conflict when somebody pays for the same service of the meter already.
    """
    if any(one.meter_id is None and (one.time_of_use or one.registers) for one in new):
        raise InvalidInput("missing-meter", "registers and intervals are those of a meter: name it", field="meter_id")
    if any(one.valid_until is not None and one.valid_until <= one.valid_from for one in new):
        raise InvalidInput("bad-dates", "expected a day after valid_from", field="valid_until")
    try:
        async with conn.transaction():
            return await repository.insert_agreements(conn, [{"project_id": project_id, **asdict(one)} for one in new])
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def create_rent(conn: Conn, project_id: int, new: NewRent) -> tuple[Agreement, Rent]:
    """A rent or a package. Raises like `create_agreements`; InvalidInput for steps that are not in order or fall to
    nothing, and for a package without an end, without a name, or that contains itself.

    What a package contains and bills charged already is rated again by a job.
    """
    _check_package(new)
    if new.contains:
        await lock_charges(conn, project_id)
    project = await estate.get_project(conn, project_id)
    rent = _rent(new, minor_digits(project.currency))
    agreement = NewAgreement(
        new.account_id,
        new.service,
        None,
        new.valid_from,
        unit_id=new.unit_id,
        valid_until=new.valid_until,
        kind="package" if new.contains else "rent",
        description=new.description,
    )
    (made,) = await create_agreements(conn, project_id, [agreement])
    await agreed_repository.insert_rent(conn, made, rent)
    for step in new.taxes:
        await agreed_repository.put_tax(conn, made, step)
    if new.contains and new.valid_until is not None:
        await rerate_conceded(conn, project_id, Period(new.valid_from, new.valid_until), account_id=new.account_id)
    return made, rent


def _check_package(new: NewRent) -> None:
    if not new.contains:
        return
    if new.valid_until is None:
        raise InvalidInput("no-end", "a package is sold between two days", field="valid_until")
    if not new.description.strip():
        raise InvalidInput("no-name", "expected what bills call the package", field="description")
    if new.service in new.contains:
        raise InvalidInput("contains-itself", f"the package is itself the service {new.service}", field="contains")


async def create_one_off(
    conn: Conn,
    project_id: int,
    account_id: int,
    service: str,
    description: str,
    amount: Decimal,
    day: date,
    unit_id: int | None = None,
    tax: Tax | None = None,
) -> Agreement:
    """A charge that the next run over `day` or later bills once. Raises like `create_agreements`."""
    new = NewAgreement(
        account_id,
        service,
        None,
        day,
        unit_id=unit_id,
        valid_until=day + timedelta(days=1),
        kind="one_off",
        amount=amount,
        description=description,
    )
    made = (await create_agreements(conn, project_id, [new]))[0]
    if tax is not None:
        await agreed_repository.put_tax(conn, made, TaxStep(day, tax.percent, tax.inclusive))
    return made


async def list_agreements(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    kind: AgreementKind | None = None,
    on: date | None = None,
) -> Page[Agreement]:
    """Agreements by id; `on`: those of a day."""
    found = await repository.agreements(
        conn,
        project_id=project_id,
        account_id=account_id,
        kind=kind,
        on=on,
        after=after_id(page),
        limit=page.limit + 1,
    )
    return cut(found, page, lambda agreement: (agreement.id,))


async def get_agreement(conn: Conn, agreement_id: int) -> Agreement:
    """One agreement. Raises NotFound."""
    return _found(await repository.agreement(conn, agreement_id), agreement_id)


async def locked_agreement(conn: Conn, agreement_id: int) -> Agreement:
    """One agreement that nobody else changes before this transaction ends. Raises NotFound."""
    return _found(await repository.agreement(conn, agreement_id, lock=True), agreement_id)


def _found(agreement: Agreement | None, agreement_id: int) -> Agreement:
    if agreement is None:
        raise NotFound("no-such-agreement", f"there is no agreement {agreement_id}", field="agreement_id")
    return agreement


async def rents_of(conn: Conn, agreements: Iterable[Agreement]) -> dict[int, Rent]:
    """The terms of those that are rents or packages, by agreement."""
    ids = [one.id for one in agreements if one.kind in ("rent", "package")]
    return await agreed_repository.rents(conn, ids) if ids else {}


async def taxes_of(conn: Conn, agreements: Iterable[Agreement]) -> dict[int, tuple[TaxStep, ...]]:
    """The taxes of those that go by no tariff, by agreement."""
    ids = [one.id for one in agreements if one.kind != "tariff"]
    return await agreed_repository.taxes(conn, ids) if ids else {}


async def withdraw_agreement(conn: Conn, agreement_id: int) -> None:
    """Takes an agreement back as if it had never been. Raises NotFound; Conflict once something was charged of it."""
    await locked_agreement(conn, agreement_id)
    if await agreed_repository.charged_until(conn, agreement_id) is not None:
        raise Conflict("already-charged", "bills or drafts charge it already: it can only be ended")
    try:
        async with conn.transaction():
            await agreed_repository.delete_agreement(conn, agreement_id)
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


def _rent(new: NewRent, digits: int) -> Rent:
    anchor = new.anchor or new.valid_from
    if not new.valid_from - _LONGEST_INSTALMENT < anchor <= new.valid_from:
        raise InvalidInput(
            "bad-anchor", "expected the first day of the lease or one in the year before", field="anchor"
        )
    if new.rise is not None:
        return _terms(new, anchor, _rises(new, new.rise, digits))
    steps = (RentStep(new.valid_from, new.amount), *new.steps)
    days = [step.from_day for step in steps]
    if days != sorted(set(days)):
        raise InvalidInput("bad-steps", "expected steps after valid_from, in order of time", field="steps")
    return _terms(new, anchor, steps)


def _terms(new: NewRent, anchor: date, steps: tuple[RentStep, ...]) -> Rent:
    return Rent(new.per_months, new.every_months, new.in_advance, anchor, steps, new.per_area, contains=new.contains)


def _rises(new: NewRent, rise: Rise, digits: int) -> tuple[RentStep, ...]:
    if new.valid_until is None or new.steps:
        raise InvalidInput("bad-steps", "a rise needs the end of the lease, and no steps", field="rise")
    if new.valid_until <= new.valid_from:
        raise InvalidInput("bad-dates", "expected a day after valid_from", field="valid_until")
    try:
        lease = Period(new.valid_from, new.valid_until)
        return rises(new.amount, rise.percent, rise.every_months, lease, digits)
    except ValueError as error:
        raise InvalidInput("bad-steps", str(error), field="rise") from error
