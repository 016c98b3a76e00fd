"""Several services on one statement: rent, property fee, water, electricity, tax, one-off charges and concessions."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.agreements.rents import RentStep
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.explanation.sentences import line_price, line_title
from cloud.billing.records import Bill
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import CHIEF, JANUARY_USAGE, Site, make_site
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))
# 2.80 a square metre and month, and 6 % VAT on it.
FEE = {
    "currency": "CNY",
    "service": "property",
    "components": [
        {"kind": "area", "code": "property_fee", "price": "2.80"},
        {"kind": "tax", "code": "vat", "percent": "6"},
    ],
}
VACANCY = NewConcession("vacancy", "Empty since New Year", "factor", Decimal("0.70"), JANUARY, MARCH, "form 17")


@world
async def site_world(db: Database) -> Site:
    """One shop of 89.50 m² that pays for electricity, water and the property fee."""
    made = await make_site(db, flats=1, services=("electricity", "water"))
    (shop,) = made.flats
    for medium in ("electricity", "water"):
        await made.read(shop, medium, [JANUARY_USAGE[medium]] * 3)
    async with db.transaction(SYSTEM) as conn:
        content = TariffContent.model_validate(FEE)
        fee = await tariffs.publish(conn, made.project.id, "property", "property", "property", content, JANUARY)
        await billing.create_agreement(
            conn, made.project.id, shop.account_id, "property", fee.tariff_id, None, None, JANUARY
        )
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def rent(site: Site, service: str = "rent", **more: Any) -> int:
    new = billing.NewRent(site.flats[0].account_id, service, JANUARY, Decimal(8000), **more)
    async with site.db.transaction(SYSTEM) as conn:
        agreement, _ = await billing.create_rent(conn, site.project.id, new)
    return agreement.id


async def one_off(site: Site, amount: str = "120.50", day: date = date(2026, 1, 20)) -> int:
    account_id = site.flats[0].account_id
    async with site.db.transaction(SYSTEM) as conn:
        made = await billing.create_one_off(
            conn, site.project.id, account_id, "maintenance", "New lock of the door", Decimal(amount), day
        )
    return made.id


async def concede(site: Site, new: NewConcession, *, approved: bool = True) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        row = await conceded.file_concession(conn, site.project.id, new)
        if approved:
            await conceded.approve_concession(conn, row.terms.id, CHIEF, "papers seen")
    return row.terms.id


async def agreement_of(site: Site, service: str) -> int:
    (row,) = await site.rows("SELECT id FROM service_agreement WHERE service = %s", service)
    return int(row["id"])


async def bills(site: Site) -> list[Bill]:
    async with site.db.transaction(SYSTEM) as conn:
        return [await billing.get_bill(conn, row.id) for row in await site.bills()]


def amounts(bill: Bill, service: str) -> list[tuple[str, str, str]]:
    return [(line.kind, line.component, str(line.amount)) for line in bill.lines if line.service == service]


async def test_a_shop_pays_everything_by_one_statement_that_adds_up_by_hand(site: Site) -> None:
    await rent(site, in_advance=False)
    await one_off(site)
    unit_id = site.flats[0].unit_id
    vacancy = await concede(site, replace(VACANCY, unit_id=unit_id, services=("property",)))
    long_lease = NewConcession(
        "long_lease",
        "Five years",
        "percent",
        Decimal(10),
        JANUARY,
        None,
        "lease 4",
        unit_id=unit_id,
        services=("rent",),
    )
    await concede(site, long_lease)
    done = await site.run(JANUARY)
    assert (done.billed, done.failed) == (1, 0)
    (bill,) = await bills(site)

    assert amounts(bill, "electricity") == [("usage", "energy", "48.83")]
    assert sum((line.amount for line in bill.lines if line.service == "water"), Decimal(0)) == Decimal("60.00")
    # 89.50 × 2.80 = 250.60, 6 % of it 15.04; × 0.70 of 265.64 = 185.948.
    assert amounts(bill, "property") == [
        ("area", "property_fee", "250.60"),
        ("tax", "vat", "15.04"),
        ("discount", "vacancy", "-79.69"),
    ]
    assert amounts(bill, "rent") == [("fixed", "rent", "8000.00"), ("discount", "long_lease", "-800.00")]
    assert amounts(bill, "maintenance") == [("fixed", "one_off", "120.50")]
    by_hand = Decimal("48.83") + 60 + Decimal("185.95") + 7200 + Decimal("120.50")
    assert bill.summary.total == by_hand == sum(line.amount for line in bill.lines)

    discount = next(line for line in bill.lines if line.component == "vacancy")
    assert (discount.quantity, discount.unit, discount.price) == (Decimal("265.64"), "CNY", Decimal("-0.30"))
    assert discount.detail["concession"] == vacancy
    assert discount.detail["name"] == "Empty since New Year"
    assert next(line for line in bill.lines if line.component == "one_off").detail == {
        "description": "New lock of the door"
    }
    property_inputs = next(one for one in bill.inputs["charges"] if "concessions" in one and "tariff_hash" in one)
    assert property_inputs["concessions"][0]["concession"] == vacancy
    assert property_inputs["concessions"][0]["value"] == "0.7"

    titles = [line_title(line) for line in bill.lines]
    assert {"New lock of the door", "Empty since New Year", "Five years", "Rent"} <= set(titles)
    assert line_price(discount) == "× -30 %"
    async with site.db.transaction(SYSTEM) as conn:
        assert (
            len(await billing.explain(conn, bill)) == 3
        )  # by tariff; a rent and a one-off charge say all in their lines

    booked = await site.rows("SELECT ledger_account, amount FROM posting ORDER BY ledger_account")
    assert {row["ledger_account"]: str(row["amount"]) for row in booked} == {
        "receivable": str(by_hand),
        "revenue:electricity": "-48.83",
        "revenue:maintenance": "-120.50",
        "revenue:property": "-175.42",
        "revenue:rent": "-7200.00",
        "revenue:water": "-60.00",
        "tax:vat": "-10.53",
    }
    assert await site.proof() == []

    again = await site.run(JANUARY)
    assert (again.accounts, again.billed) == (0, 0)
    assert len(await bills(site)) == 1


async def test_the_fee_of_an_empty_flat_is_the_published_amount(site: Site) -> None:
    fee = await agreement_of(site, "property")
    await concede(site, replace(VACANCY, agreement_id=fee, components=("property_fee",)))
    await site.run(JANUARY)
    (bill,) = await bills(site)
    kept = sum((line.amount for line in bill.lines if line.service == "property" and line.kind != "tax"), Decimal(0))
    assert kept == Decimal("175.42")


async def test_only_what_is_approved_is_taken_off(site: Site) -> None:
    await concede(site, replace(VACANCY, account_id=site.flats[0].account_id), approved=False)
    await site.run(JANUARY)
    (bill,) = await bills(site)
    assert [line for line in bill.lines if line.kind == "discount"] == []


async def test_part_of_a_month_counts_by_days_and_says_so(site: Site) -> None:
    fee = await agreement_of(site, "property")
    await concede(site, replace(VACANCY, agreement_id=fee, valid_from=date(2026, 1, 17)))
    await site.run(JANUARY)
    (bill,) = await bills(site)
    (discount,) = [line for line in bill.lines if line.kind == "discount"]
    # 265.64 × (1 − 0.30 × 15/31) = 227.0794
    assert discount.amount == Decimal("227.08") - Decimal("265.64")
    assert (discount.price, discount.detail["days"], discount.detail["of_days"]) == (None, 15, 31)


LEASES: dict[str, tuple[dict[str, Any], list[list[str]]]] = {
    # The instalment that begins on 1 February is paid with the bill of January.
    "monthly": ({}, [["8000.00", "8000.00"], ["8000.00"], ["8000.00"]]),
    "arrears": ({"in_advance": False}, [["8000.00"], ["8000.00"], ["8000.00"]]),
    "quarterly": ({"every_months": 3}, [["24000.00"], [], ["24000.00"]]),
    "quarter_arrears": ({"in_advance": False, "every_months": 3}, [[], [], ["24000.00"]]),
    "short": ({"in_advance": False, "valid_until": date(2026, 2, 15)}, [["8000.00"], ["4000.00"], []]),
    "stepped": (
        {"in_advance": False, "steps": (RentStep(date(2026, 2, 1), Decimal(8400)),)},
        [["8000.00"], ["8400.00"], ["8400.00"]],
    ),
    "rising": (
        {"in_advance": False, "rise": billing.Rise(Decimal(5), 1), "valid_until": date(2027, 1, 1)},
        [["8000.00"], ["8400.00"], ["8820.00"]],
    ),
}
"""Terms, and what the bills of January, February and March charge."""


async def test_rents_fall_due_by_their_instalments(site: Site) -> None:
    for service, (terms, _) in LEASES.items():
        await rent(site, service=service, **terms)
    for month in (JANUARY, FEBRUARY, MARCH):
        await site.run(month)
    found = await bills(site)
    for service, (_, expected) in LEASES.items():
        assert [[amount for _, _, amount in amounts(bill, service)] for bill in found] == expected, service
    assert await site.proof() == []


async def test_a_one_off_charge_is_billed_once_by_the_next_run(site: Site) -> None:
    await site.run(JANUARY)
    await one_off(site)
    await site.run(FEBRUARY)
    await site.run(MARCH)
    assert [amounts(bill, "maintenance") for bill in await bills(site)] == [
        [],
        [("fixed", "one_off", "120.50")],
        [],
    ]


async def test_a_charge_of_the_next_month_waits(site: Site) -> None:
    await one_off(site, day=FEBRUARY)
    await site.run(JANUARY)
    assert [amounts(bill, "maintenance") for bill in await bills(site)] == [[]]


async def test_an_agreement_by_a_tariff_ends_not_before_what_is_charged(site: Site) -> None:
    lease, fee = await rent(site), await agreement_of(site, "property")
    await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="until 2026-02-01"):
            await billing.end_agreement(conn, fee, date(2026, 1, 10))
        with pytest.raises(InvalidInput, match="after 2026-01-01"):
            await billing.end_agreement(conn, lease, JANUARY)
        ended = await billing.end_agreement(conn, lease, date(2026, 3, 11))
        assert ended.valid_until == date(2026, 3, 11)
        with pytest.raises(Conflict, match="only be ended"):
            await billing.withdraw_agreement(conn, lease)
    await site.run(FEBRUARY)
    # 10 of the 31 days of March.
    assert amounts((await bills(site))[-1], "rent") == [("fixed", "rent", "2580.65")]


async def test_what_was_not_charged_is_taken_back_with_its_terms(site: Site) -> None:
    lease, charge = await rent(site), await one_off(site)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.withdraw_agreement(conn, lease)
        await billing.withdraw_agreement(conn, charge)
        with pytest.raises(NotFound):
            await billing.get_agreement(conn, lease)
    assert await site.rows("SELECT FROM rent_step") == []


WRONG_RENTS: list[tuple[dict[str, Any], str]] = [
    ({"steps": (RentStep(JANUARY, Decimal(1)),)}, "bad-steps"),
    ({"rise": billing.Rise(Decimal(5), 12)}, "bad-steps"),
    ({"rise": billing.Rise(Decimal(-100), 12), "valid_until": date(2030, 1, 1)}, "bad-steps"),
    ({"rise": billing.Rise(Decimal(5), 12), "valid_until": JANUARY}, "bad-dates"),
    ({"anchor": FEBRUARY}, "bad-anchor"),
    ({"anchor": date(2024, 1, 1)}, "bad-anchor"),
    ({"valid_until": JANUARY}, "bad-dates"),
]
WRONG_CONCESSIONS: list[tuple[dict[str, Any], str]] = [
    ({"valid_until": None}, "no-filed-dates"),
    ({"valid_from": None}, "no-filed-dates"),
    ({"valid_until": JANUARY}, "bad-dates"),
    ({"account_id": None}, "one-subject"),
    ({"unit_id": 1}, "one-subject"),
    ({"value": Decimal(1)}, "bad-concession"),
    ({"kind": "percent", "value": Decimal(101)}, "bad-concession"),
    ({"kind": "amount", "value": Decimal(20)}, "amount-needs-agreement"),
    ({"account_id": 2**60}, "unknown-reference"),
]


async def test_what_cannot_be_is_refused_with_its_reason(site: Site) -> None:
    for more, code in WRONG_RENTS:
        with pytest.raises(InvalidInput) as refused:
            await rent(site, **more)
        assert refused.value.code == code, more
    for wrong, code in WRONG_CONCESSIONS:
        told = {"account_id": site.flats[0].account_id} | wrong
        with pytest.raises(GatemeterError) as forbidden:
            await concede(site, replace(VACANCY, **told))
        assert forbidden.value.code == code, wrong


async def test_an_approved_concession_is_only_ended_and_not_before_what_bills_took_off(site: Site) -> None:
    account_id = site.flats[0].account_id
    given = await concede(site, replace(VACANCY, account_id=account_id))
    await site.run(JANUARY)
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="until 2026-02-01"):
            await conceded.end_concession(conn, given, date(2026, 1, 20))
        with pytest.raises(Conflict, match="only be ended"):
            await conceded.withdraw_concession(conn, given)
        ended = await conceded.end_concession(conn, given, FEBRUARY)
        assert ended.valid_until == FEBRUARY
        first = ended.approved_at
        assert (await conceded.approve_concession(conn, given, 5, "again")).approved_at == first
    with pytest.raises(Exception, match="never changed"):
        await site.rows("UPDATE concession SET value = 0.1 WHERE id = %s RETURNING id", given)
    await site.run(FEBRUARY)
    assert [line for line in (await bills(site))[-1].lines if line.kind == "discount"] == []


async def test_the_database_refuses_an_agreement_that_is_half_of_each_kind(site: Site) -> None:
    with pytest.raises(Exception, match="what_its_kind_needs"):
        await site.rows("UPDATE service_agreement SET amount = 5 RETURNING id")


async def test_a_package_is_a_tariff_with_a_free_quantity_and_a_fixed_part(site: Site) -> None:
    """Until a date 30 CNY a month with 60 kWh in it, then by the ordinary tariff."""
    package = TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "components": [
                {"kind": "energy", "code": "energy", "prices": {"all": ["0.60"]}},
                {"kind": "fixed", "code": "package", "per": "month", "price": "30"},
            ],
            "tiers": {"free": "60", "window": {"kind": "month"}},
        }
    )
    (shop,) = site.flats
    async with site.db.transaction(SYSTEM) as conn:
        sold = await tariffs.publish(conn, site.project.id, "package", "package", "electricity", package, JANUARY)
        ordinary = site.tariffs["electricity"]
        await conn.execute(
            "UPDATE service_agreement SET valid = daterange(%s, NULL) WHERE service = 'electricity'", (FEBRUARY,)
        )
        meter_id = shop.meters["electricity"]
        await billing.create_agreement(
            conn, site.project.id, shop.account_id, "electricity", sold.tariff_id, meter_id, None, JANUARY, FEBRUARY
        )
    assert ordinary != sold.tariff_id
    await site.run(JANUARY)
    await site.run(FEBRUARY)
    january, february = await bills(site)
    # 100 kWh, of which 60 are in the package.
    assert amounts(january, "electricity") == [
        ("usage", "energy", "0.00"),
        ("usage", "energy", "24.00"),
        ("fixed", "package", "30.00"),
    ]
    assert amounts(february, "electricity") == [("usage", "energy", "48.83")]


async def test_a_household_that_grows_in_the_year_gets_its_months(site: Site) -> None:
    """6 persons filed within January: 11 of 12 months of the yearly raise, as the bill keeps."""
    (shop,) = site.flats
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(
            "INSERT INTO household (project_id, unit_id, persons, valid) VALUES (%s, %s, 6, daterange(%s, NULL))",
            (site.project.id, shop.unit_id, date(2026, 1, 15)),
        )
    await site.run(JANUARY)
    await site.run(FEBRUARY)
    parts = [
        next(one["window_parts"] for one in bill.inputs["charges"] if one.get("meter") == shop.meters["electricity"])
        for bill in await bills(site)
    ]
    assert parts == [{"steps": 0, "covered": 12, "whole": 12}, {"steps": 11, "covered": 12, "whole": 12}]
