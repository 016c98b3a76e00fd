"""Pages of agreements: the list with its filters, one agreement, and the forms of every kind."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import Form, Request
from starlette.responses import Response

from cloud.billing import service
from cloud.billing.agreements.models import AgreementIn, OneOffIn, PackageIn, RentIn
from cloud.billing.agreements.rents import UNITS, Rent
from cloud.billing.records import Agreement, AgreementKind
from cloud.estate import service as estate
from cloud.estate.records import Account
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalText, Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.amounts import plain
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.metering import service as metering
from cloud.metering.assets.forms import read, typed
from cloud.tariffs import service as tariffs

router = page_router()

Running = Annotated[Scope, allow_page("bills.run")]
DayTyped = Annotated[date, Form(ge=date(1970, 1, 1), le=date(2199, 12, 31))]
KINDS: tuple[AgreementKind, ...] = get_args(AgreementKind)


@router.get("/agreements")
async def agreements(
    request: Request,
    scope: Running,
    account: OptionalText = None,
    kind: Literal["", AgreementKind] = "",
    in_force: bool = False,
    cursor: str | None = None,
) -> Response:
    """Agreements of the project, or of an account."""
    page = await shown(request, scope)
    payer = None if account is None else await account_by_number(scope.conn, page, account)
    today = local_day(datetime.now(UTC), page.project.zone)
    unknown = account is not None and payer is None
    found = await service.list_agreements(
        scope.conn,
        page_request(None, cursor),
        project_id=page.project.id,
        account_id=0 if unknown else payer.id if payer else None,
        kind=kind or None,
        on=today if in_force else None,
    )
    return page.page(
        "billing/agreements.html",
        agreements=found,
        wanted={"account": account or "", "kind": kind, "in_force": in_force},
        **await _named(scope.conn, page, found.items),
    )


@router.get("/agreements/new")
async def new_agreement(
    request: Request,
    scope: Running,
    kind: AgreementKind = "tariff",
    account: OptionalText = None,
    copy_of: int | None = None,
) -> Response:
    """The form of one kind, empty or as a copy."""
    page = await shown(request, scope)
    values: dict[str, str] = {"account": account or ""}
    if copy_of is not None:
        original = await service.get_agreement(scope.conn, copy_of)
        kind, values = original.kind, await _copied(scope.conn, original)
    return await _form(page, kind, values)


@router.post("/agreements/new")
async def create_agreement(request: Request, scope: Running, sent: FormOnce) -> Response:
    """Makes an agreement of the kind that was typed; what is wrong is said above the form."""
    page = await shown(request, scope)
    values = await typed(request)
    kind: AgreementKind = next((one for one in KINDS if one == values.get("kind")), "tariff")

    async def make() -> str:
        return f"/agreements/{(await _make(scope.conn, page, kind, values)).id}?done=agreed"

    try:
        return await sent.lead(scope.conn, make)
    except GatemeterError as error:
        return await _form(page, kind, values, error)


@router.get("/agreements/{agreement_id}")
async def agreement(request: Request, scope: Running, agreement_id: int) -> Response:
    """One agreement: its terms, and what can be done with it."""
    return await show(await shown(request, scope), agreement_id)


async def account_by_number(conn: Conn, page: Shown, number: str) -> Account | None:
    """The account of the project with this number."""
    wanted = EstateFilter(project_id=page.project.id, number=number.strip())
    found = await estate.list_accounts(conn, PageRequest(1), wanted)
    return found.items[0] if found.items else None


async def show(page: Shown, agreement_id: int, problem: GatemeterError | None = None) -> Response:
    """The page of one agreement, with what was wrong."""
    found = await service.get_agreement(page.conn, agreement_id)
    return page.page(
        "billing/agreement.html",
        status=problem.status if problem else 200,
        agreement=found,
        registers=_registers_shown(found),
        problem=problem,
        today=local_day(datetime.now(UTC), page.project.zone),
        areas=await _areas(page.conn, found),
        **await _named(page.conn, page, [found]),
    )


async def _areas(conn: Conn, agreement: Agreement) -> Sequence[service.BilledArea] | None:
    """The floor areas filed of its unit; None where it goes by an area of its own, by none, or has no unit."""
    unit_id = await unit_of(conn, agreement)
    if agreement.area is not None or unit_id is None or not await _goes_by_area(conn, agreement):
        return None
    return (await service.list_areas(conn, PageRequest(MAX_LIMIT), unit_id=unit_id)).items


async def _goes_by_area(conn: Conn, agreement: Agreement) -> bool:
    if agreement.tariff_id is None:
        return any(rent.per_area for rent in (await service.rents_of(conn, [agreement])).values())
    versions = (await tariffs.versions_of(conn, [agreement.tariff_id])).get(agreement.tariff_id, ())
    return any(part.kind == "area" for version in versions for part in version.content.components)


async def unit_of(conn: Conn, agreement: Agreement) -> int | None:
    """The unit of an agreement: its own, else that of its account."""
    accounts = await estate.accounts_by_id(conn, [agreement.account_id])
    return agreement.unit_id or (accounts[agreement.account_id].unit_id if accounts else None)


async def _named(conn: Conn, page: Shown, found: Iterable[Agreement]) -> dict[str, Any]:
    """What a page says beside agreements: accounts, meters, tariffs and rents."""
    listed = list(found)
    known = await tariffs.list_tariffs(conn, PageRequest(MAX_LIMIT), page.project.id)
    return {
        "accounts": await estate.accounts_by_id(conn, {one.account_id for one in listed}),
        "meters": await metering.meters_by_id(conn, [one.meter_id for one in listed if one.meter_id is not None]),
        "tariffs": {tariff.id: tariff for tariff in known.items},
        "rents": await service.rents_of(conn, listed),
        "taxes": await service.taxes_of(conn, listed),
    }


async def _form(
    page: Shown, kind: AgreementKind, values: Mapping[str, str], problem: GatemeterError | None = None
) -> Response:
    known = await tariffs.list_tariffs(page.conn, PageRequest(MAX_LIMIT), page.project.id)
    return page.page(
        "billing/agreement_new.html",
        status=problem.status if problem else 200,
        kind=kind,
        values=values,
        problem=problem,
        tariffs=[(tariff.id, tariff.name) for tariff in known.items],
        months=tuple(UNITS.items()),
        today=local_day(datetime.now(UTC), page.project.zone),
    )


async def _make(conn: Conn, page: Shown, kind: AgreementKind, values: Mapping[str, str]) -> Agreement:
    """The agreement as it was typed. Raises GatemeterError."""
    payer = await account_by_number(conn, page, values.get("account", ""))
    if payer is None:
        raise InvalidInput("no-such-account", "there is no account of this number", field="account")
    known = {name: value for name, value in values.items() if name not in ("kind", "account", "meter")}
    told: dict[str, Any] = {**known, "project_id": page.project.id, "account_id": payer.id}
    if kind in ("rent", "package"):
        terms = _rent_told(told)
        new = read(RentIn, terms).new() if kind == "rent" else read(PackageIn, terms).new()
        made, _ = await service.create_rent(conn, page.project.id, new)
        return made
    if kind == "one_off":
        charge = read(OneOffIn, _tax_told(told, "tax"))
        tax = None if charge.tax is None else service.Tax(charge.tax.percent, charge.tax.inclusive)
        return await service.create_one_off(
            conn, page.project.id, payer.id, charge.category, charge.description, charge.amount, charge.day, tax=tax
        )
    if "registers" in values:
        told["registers"] = _registers_told(values["registers"])
    if "meter" in values:
        meter = await metering.meter_by_code(conn, page.project.id, values["meter"])
        if meter is None:
            raise InvalidInput("unknown-meter", "there is no meter of this number", field="meter")
        told["meter_id"] = meter.id
    return await service.create_agreement(conn, **read(AgreementIn, told).model_dump())


def _rent_told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lines such as `2027-01-01 8400` are steps; a percentage is a rise. Raises InvalidInput."""
    values = _tax_told(values, "taxes")
    told = {name: value for name, value in values.items() if name not in ("percent", "rise_months", "steps")}
    if "contains" in told:
        told["contains"] = str(told["contains"]).replace(",", " ").split()
    for name in ("per_months", "every_months"):
        if name in told:
            told[name] = int(told[name]) if str(told[name]).isdecimal() else told[name]
    if "percent" in values:
        told["rise"] = {"percent": values["percent"], "every_months": values.get("rise_months", "12")}
    steps = [line.split() for line in str(values.get("steps", "")).splitlines() if line.strip()]
    if any(len(step) != 2 for step in steps):
        raise InvalidInput("bad-steps", "expected a day and an amount a line", field="steps")
    return told | {"steps": [{"from_day": day, "amount": amount} for day, amount in steps]}


def _tax_told(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A tax from the first day on, as `taxes`, or as the `tax` of a one-off charge."""
    told = {key: value for key, value in values.items() if key not in ("tax_percent", "tax_inclusive")}
    if "tax_percent" not in values:
        return told
    tax = {"percent": values["tax_percent"], "inclusive": values.get("tax_inclusive") == "true"}
    return told | {name: [tax | {"from_day": values.get("valid_from")}] if name == "taxes" else tax}


def _registers_told(text: str) -> dict[str, Any]:
    """Lines such as `peak: peak, -sharp` and `beside_total: sharp`. Raises InvalidInput."""
    lines = [line.replace("：", ":").partition(":") for line in text.splitlines() if line.strip()]
    if any(not separator for _, separator, _ in lines):
        raise InvalidInput("bad-registers", "expected a period and its registers a line", field="registers")
    told = {name.strip(): _listed(registers) for name, _, registers in lines}
    if len(told) != len(lines):
        raise InvalidInput("bad-registers", "expected each period once", field="registers")
    beside = told.pop("beside_total", [])
    return {"periods": told, "beside_total": beside}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.replace("，", ",").replace("、", ",").split(",") if part.strip()]


def _registers_shown(agreement: Agreement) -> list[str]:
    """The lines that say the registers of an agreement, as they are typed."""
    if agreement.registers is None:
        return []
    told = {**agreement.registers["periods"], "beside_total": agreement.registers.get("beside_total", ())}
    return [f"{name}: {', '.join(registers)}" for name, registers in told.items() if registers]


async def _copied(conn: Conn, original: Agreement) -> dict[str, str]:
    """What the form of a copy starts with; it begins where the original ends."""
    accounts = await estate.accounts_by_id(conn, [original.account_id])
    rents = await service.rents_of(conn, [original])
    values: dict[str, object] = {
        "account": accounts[original.account_id].number if original.account_id in accounts else "",
        "service": original.service,
        "category": original.service,
        "tariff_id": original.tariff_id,
        "valid_from": original.valid_until,
        "capacity_va": original.capacity_va,
        "area": original.area,
        "single": "true" if original.single else None,
        "time_of_use": original.time_of_use,
        "registers": "\n".join(_registers_shown(original)) or None,
        "amount": original.amount,
        "description": original.description,
        "name": original.description,
        **_rent_copied(rents.get(original.id)),
        **_tax_copied((await service.taxes_of(conn, [original])).get(original.id, ())),
    }
    if original.meter_id is not None:
        meters = await metering.meters_by_id(conn, [original.meter_id])
        values["meter"] = meters[original.meter_id].code if original.meter_id in meters else ""
    return {name: str(value) for name, value in values.items() if value is not None}


def _rent_copied(rent: Rent | None) -> dict[str, object]:
    if rent is None:
        return {}
    return {
        "amount": rent.steps[-1].amount,
        "per_months": rent.per_months,
        "every_months": rent.every_months,
        "in_advance": "true" if rent.in_advance else "false",
        "per_area": "true" if rent.per_area else None,
        "contains": ", ".join(rent.contains),
    }


def _tax_copied(taxes: Sequence[service.TaxStep]) -> dict[str, object]:
    if not taxes or not taxes[-1].percent:
        return {}
    return {"tax_percent": plain(taxes[-1].percent), "tax_inclusive": "true" if taxes[-1].inclusive else "false"}
