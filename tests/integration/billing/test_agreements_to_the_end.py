"""Agreements changed after bills: rents, floor areas, one-off charges, concessions and packages become adjustments."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.agreements.rents import RentStep
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.explanation.sentences import line_title
from cloud.billing.service import RunOptions, Tax, TaxStep
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from tests.integration.billing.shop import VAT, Shop, lines, make_shop, named
from tests.integration.billing.site import failures_of

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in (1, 2, 3, 4))
SUBSIDY = NewConcession("subsidy", "Start-up aid", "percent", Decimal(20), JANUARY, None, "form 9")


@pytest.fixture
async def shop(worker_db: Database) -> Shop:
    """A shop with usage of January to March."""
    made = await make_shop(worker_db)
    await made.read("electricity", [(JANUARY, FEBRUARY, 50_000), (FEBRUARY, MARCH, 100_000), (MARCH, APRIL, 40_000)])
    await made.read("water", [(JANUARY, FEBRUARY, 3_000_000), (FEBRUARY, MARCH, 3_000_000), (MARCH, APRIL, 3_000_000)])
    return made


def told(rows: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Component, amount and period of the lines that correct."""
    return [(one["component"], one["amount"], one["detail"]["period"]) for one in rows]


async def test_a_rent_paid_in_advance_is_given_back_from_the_day_it_ends(shop: Shop) -> None:
    lease = await shop.rent(every_months=3, taxes=VAT)
    await shop.site.run(JANUARY)
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.end_agreement(conn, lease, date(2026, 3, 11))
    # 24000 for three months; two and 10/31 of the third remain: 18580.65.
    assert told(await shop.adjustments()) == [
        ("rent", "-5419.35", "2026-01-01/2026-04-01"),
        ("vat", "-487.74", "2026-01-01/2026-04-01"),
    ]
    await shop.site.run(FEBRUARY)
    first, second = await shop.bills()
    of_rent = next(line for line in first.lines if line.component == "rent")
    assert named(second.corrections[0]) == (first.summary.number, of_rent.position, "2026-01-01/2026-04-01")
    await shop.site.run(MARCH)
    assert [line for line in (await shop.bills())[-1].lines if line.service == "rent"] == []
    assert await shop.site.proof() == []


async def test_a_draft_that_charges_it_comes_first(shop: Shop) -> None:
    lease = await shop.rent()
    async with shop.site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, shop.site.project.id, Period(JANUARY, FEBRUARY), options=RunOptions())
        run = await billing.run_of_job(conn, job_id)
    await billing.execute_run(shop.site.db, SYSTEM, run.id)
    async with shop.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="until 2026-03-01"):
            await billing.end_agreement(conn, lease, date(2026, 2, 10))
        with pytest.raises(Conflict, match="a draft charges it"):
            await billing.change_rent(conn, lease, [RentStep(JANUARY, Decimal(9000))])
    with pytest.raises(Conflict, match="a draft charges these days"):
        await shop.concede(replace(SUBSIDY, account_id=shop.account_id))
    with pytest.raises(Conflict, match="a draft charges these days"):
        await file_area(shop, JANUARY, "90")


async def test_a_rent_by_area_without_an_area_is_listed(shop: Shop) -> None:
    await shop.site.rows("UPDATE unit SET area = NULL RETURNING 1")
    await shop.rent("80", per_area=True)
    run = await shop.site.run(JANUARY)
    async with shop.site.db.transaction(SYSTEM) as conn:
        assert {one.code for one in await failures_of(conn, run.id)} == {"missing-area"}


async def test_days_beyond_the_end_stay_charged_where_that_is_said(shop: Shop) -> None:
    await shop.rent(every_months=3)
    await shop.site.run(JANUARY)
    await shop.final_bill(FEBRUARY, charged_beyond=True)
    assert await shop.adjustments() == []


async def test_a_rent_agreed_otherwise_with_effect_in_the_past(shop: Shop) -> None:
    lease = await shop.rent()
    await shop.site.run(JANUARY)
    async with shop.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput):
            await billing.change_rent(conn, lease, [RentStep(date(2025, 12, 1), Decimal(1))])
        await billing.change_rent(conn, lease, [RentStep(JANUARY, Decimal(8000))])
    assert await shop.adjustments() == []
    async with shop.site.db.transaction(SYSTEM) as conn:
        # January and February are charged; from 15 February on 8400: 14 of its 28 days more by 400 a month.
        await billing.change_rent(conn, lease, [RentStep(date(2026, 2, 15), Decimal(8400))])
    assert told(await shop.adjustments()) == [
        ("rent", "-4000.00", "2026-02-01/2026-03-01"),
        ("rent", "4200.00", "2026-02-01/2026-03-01"),
    ]
    await shop.site.run(FEBRUARY)
    assert lines((await shop.bills())[-1], "rent") == [
        ("fixed", "rent", "8400.00"),
        ("adjustment", "rent", "-4000.00"),
        ("adjustment", "rent", "4200.00"),
    ]
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_rent(conn, lease, [RentStep(date(2026, 2, 15), Decimal(8000))])
    rows = await shop.site.rows("SELECT sum(difference) AS more FROM adjustment")
    assert rows == [{"more": Decimal("-400.00")}]  # +200 and -200 for February, and -400 for March


async def test_a_tax_by_date_on_top_or_contained(shop: Shop) -> None:
    taxes = (TaxStep(JANUARY, Decimal(9), inclusive=True), TaxStep(date(2026, 1, 17), Decimal(5), inclusive=False))
    lease = await shop.rent("3100", in_advance=False, taxes=taxes)
    await shop.site.run(JANUARY)
    (bill,) = await shop.bills()
    # 16 days at 100.00 contain 9 %: 1600 x 9 / 109 = 132.11; 5 % on top of 15 days.
    assert lines(bill, "rent") == [("fixed", "rent", "1600.00"), ("fixed", "rent", "1500.00"), ("tax", "vat", "75.00")]
    (explained,) = billing.explain_agreed(bill)
    assert [(str(tax.base), str(tax.amount)) for tax in explained.contained_taxes] == [("1600.00", "132.11")]
    rows = await shop.site.rows("SELECT taxes FROM charge WHERE agreement_id = %s", lease)
    assert rows == [{"taxes": {"vat": "207.11"}}]
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_tax(conn, lease, TaxStep(date(2026, 1, 17), Decimal(6), inclusive=False))
    assert told(await shop.adjustments()) == [
        ("vat", "-75.00", "2026-01-01/2026-02-01"),
        ("vat", "90.00", "2026-01-01/2026-02-01"),
    ]
    await shop.site.run(FEBRUARY)
    booked = await shop.site.rows("SELECT sum(amount) AS amount FROM posting WHERE ledger_account = 'tax:vat'")
    charged = await shop.site.rows("SELECT sum(t.value::numeric) AS amount FROM charge, jsonb_each_text(taxes) t")
    assert -booked[0]["amount"] == charged[0]["amount"] + 15
    assert await shop.site.proof() == []


async def test_a_concession_takes_its_share_of_the_tax(shop: Shop) -> None:
    await shop.rent("1000", in_advance=False, taxes=VAT)
    await shop.concede(replace(SUBSIDY, account_id=shop.account_id, services=("rent",)))
    await shop.site.run(JANUARY)
    (bill,) = await shop.bills()
    assert lines(bill, "rent") == [
        ("fixed", "rent", "1000.00"),
        ("tax", "vat", "90.00"),
        ("discount", "subsidy", "-218.00"),
    ]
    rows = await shop.site.rows("SELECT amount FROM posting WHERE ledger_account = 'revenue:rent'")
    assert rows == [{"amount": Decimal("-800.00")}]


async def test_a_one_off_charge_taken_back_after_its_bill(shop: Shop) -> None:
    async with shop.site.db.transaction(SYSTEM) as conn:
        lock = await billing.create_one_off(
            conn, shop.site.project.id, shop.account_id, "maintenance", "New lock", Decimal("120.50"),
            date(2026, 1, 20), tax=Tax(Decimal(6), inclusive=False),
        )  # fmt: skip
        never = await billing.create_one_off(
            conn, shop.site.project.id, shop.account_id, "cleaning", "Windows", Decimal(50), date(2026, 2, 20)
        )
        await billing.take_back(conn, never.id, "not ordered")
    await shop.site.run(JANUARY)
    assert lines((await shop.bills())[0], "maintenance") == [("fixed", "one_off", "120.50"), ("tax", "vat", "7.23")]
    async with shop.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput):
            await billing.take_back(conn, lock.id, " ")
        assert (await billing.take_back(conn, lock.id, "wrong tenant")).taken_back
        await billing.take_back(conn, lock.id, "again")
    await shop.site.run(FEBRUARY)
    bill = (await shop.bills())[-1]
    assert lines(bill, "maintenance") == [("adjustment", "one_off", "-120.50"), ("adjustment", "vat", "-7.23")]
    assert line_title(bill.corrections[0]) == "New lock"
    assert lines(bill, "cleaning") == []
    assert await shop.site.proof() == []


async def file_area(shop: Shop, day: date, area: str) -> None:
    async with shop.site.db.transaction(SYSTEM) as conn:
        unit_id = shop.site.flats[0].unit_id
        await billing.file_area(conn, shop.site.project.id, unit_id, day, Decimal(area), "measured again")


async def test_a_floor_area_filed_backwards(shop: Shop) -> None:
    await shop.rent("80", per_area=True, in_advance=False)
    await shop.site.run(JANUARY)
    await shop.site.run(FEBRUARY)
    assert lines((await shop.bills())[0], "rent") == [("fixed", "rent", "7160.00")]
    await file_area(shop, date(2026, 2, 15), "91.50")
    assert await shop.work() == 1
    # Half of February is 89.50 m², half 91.50: 156.63 + 9.40 VAT and 160.13 + 9.61 instead of 332.05; 1 m² more of 80.
    fee = [one for one in await shop.adjustments() if one["component"] in ("property_fee", "vat")]
    rent = [one for one in await shop.adjustments() if one["component"] == "rent"]
    assert sum(Decimal(one["amount"]) for one in fee) == Decimal("3.72")
    assert sum(Decimal(one["amount"]) for one in rent) == Decimal("80.00")
    assert {one["detail"]["period"] for one in (*fee, *rent)} == {"2026-02-01/2026-03-01"}
    before = len(await shop.adjustments())
    for cause in ("area", "usage", "facts"):
        async with shop.site.db.transaction(SYSTEM) as conn:
            done = await billing.rerate_account(conn, shop.account_id, JANUARY, cause=cause)
            assert done.adjusted == 0, cause
    assert len(await shop.adjustments()) == before
    await file_area(shop, date(2026, 3, 11), "100.00")
    await shop.site.run(MARCH)
    # 10 days at 91.50 and 21 at 100.00.
    assert lines((await shop.bills())[-1], "rent")[:2] == [("fixed", "rent", "2361.29"), ("fixed", "rent", "5419.35")]
    async with shop.site.db.transaction(SYSTEM) as conn:
        page = await billing.list_areas(conn, PageRequest(10), unit_id=shop.site.flats[0].unit_id)
    assert [str(one.area) for one in page.items] == ["91.50", "100.00"]
    assert await shop.site.proof() == []


async def test_concessions_count_as_of_the_bill_when_something_is_rated_again(shop: Shop) -> None:
    await shop.rent(in_advance=False)
    await shop.site.run(JANUARY)
    # For later months only.
    await shop.concede(replace(SUBSIDY, account_id=shop.account_id, valid_from=FEBRUARY))
    assert await shop.work() == 0
    # Granted, but the job that looks at January was not done yet.
    aid = await shop.concede(replace(SUBSIDY, account_id=shop.account_id, name="Winter aid", valid_until=FEBRUARY))
    for cause in ("usage", "facts", "area", "terms"):
        async with shop.site.db.transaction(SYSTEM) as conn:
            done = await billing.rerate_account(conn, shop.account_id, JANUARY, cause=cause)
            assert done.adjusted == 0, cause
    assert await shop.work() == 1
    rows = await shop.site.rows(
        """SELECT c.service, a.cause, a.difference, a.differences FROM adjustment a JOIN charge c ON c.id = a.charge_id
           ORDER BY c.service"""
    )
    # 20 % of 48.03, 332.05 (with 6 %), 8000 and 13.05.
    assert [(row["service"], row["cause"], str(row["difference"])) for row in rows] == [
        ("electricity", "concession", "-9.61"),
        ("property", "concession", "-66.41"),
        ("rent", "concession", "-1600.00"),
        ("water", "concession", "-2.61"),
    ]
    (line,) = rows[2]["differences"]
    assert line["detail"]["concession"] == aid
    assert line["detail"]["name"] == "Winter aid"
    assert line["detail"]["line"] is None
    async with shop.site.db.transaction(SYSTEM) as conn:
        for cause in ("usage", "concession"):
            done = await billing.rerate_account(conn, shop.account_id, JANUARY, cause=cause)  # type: ignore[arg-type]
            assert done.adjusted == 0, cause
    await shop.site.run(FEBRUARY)
    bill = (await shop.bills())[-1]
    assert {line_title(line) for line in bill.corrections} == {"Winter aid"}
    assert ("discount", "subsidy", "-1600.00") in lines(bill, "rent")
    assert await shop.site.proof() == []


async def test_a_concession_that_had_nothing_to_take_off_bears_on_late_usage(worker_db: Database) -> None:
    shop = await make_shop(worker_db)
    for medium in ("electricity", "water"):
        await shop.read(medium, [(JANUARY, FEBRUARY, 0)])
    await shop.site.run(JANUARY)
    aid = replace(SUBSIDY, account_id=shop.account_id, services=("electricity",), valid_until=FEBRUARY)
    await shop.concede(aid)
    assert await shop.work() == 1
    assert await shop.adjustments() == []
    await use_more(shop)
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.rerate_account(conn, shop.account_id, JANUARY)
    rows = await shop.site.rows("SELECT difference FROM adjustment WHERE difference <> 0")
    assert rows == [{"difference": Decimal("7.69")}]  # 10 kWh: 8.50 + 1.11, less 20 %: 7.688


async def use_more(shop: Shop) -> None:
    """10 kWh more in January, as a late reading would have it."""
    meter = shop.site.flats[0].meters["electricity"]
    await shop.site.rows(
        """WITH readings AS (UPDATE store.reading SET value = value + 10000
                             WHERE meter_id = %s AND taken_at > '2026-01-15' RETURNING 1)
           UPDATE store.usage SET quantity = quantity + 10000
           WHERE meter_id = %s AND start < '2026-01-15' RETURNING 1""",
        meter, meter,
    )  # fmt: skip


async def test_late_usage_bears_the_concession_of_then(shop: Shop) -> None:
    await shop.concede(replace(SUBSIDY, account_id=shop.account_id, valid_until=FEBRUARY))
    await shop.site.run(JANUARY)
    await use_more(shop)
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.rerate_account(conn, shop.account_id, JANUARY)
    # 60 kWh: 51.00 + 6.63 less 20 %: 46.10; it was 42.50 + 5.53 less 20 %: 38.42.
    rows = await shop.site.rows("SELECT old_amount, amount FROM adjustment")
    assert rows == [{"old_amount": Decimal("38.42"), "amount": Decimal("46.10")}]


async def package(shop: Shop, amount: str, start: date, until: date | None, **more: Any) -> int:
    values = {"contains": ("property", "water"), "description": "All-in shop", "valid_until": until, **more}
    new = billing.NewRent(shop.account_id, "package", start, Decimal(amount), **values)
    async with shop.site.db.transaction(SYSTEM) as conn:
        made, _ = await billing.create_rent(conn, shop.site.project.id, new)
    return made.id


async def test_a_package_pays_for_what_it_contains_between_its_dates(shop: Shop) -> None:
    sold = await package(shop, "300", JANUARY, date(2026, 2, 15), in_advance=False, taxes=VAT)
    await shop.site.run(JANUARY)
    await shop.site.run(FEBRUARY)
    january, february = await shop.bills()
    assert lines(january, "package") == [("fixed", "package", "300.00"), ("tax", "vat", "27.00")]
    assert lines(january, "property") == [
        ("area", "property_fee", "313.25"),
        ("tax", "vat", "18.80"),
        ("discount", "package", "-332.05"),
    ]
    assert lines(january, "water") == [("usage", "water", "13.05"), ("discount", "package", "-13.05")]
    assert january.summary.total == Decimal("327.00") + Decimal("48.03")
    (taken, *_) = [line for line in january.lines if line.component == "package" and line.kind == "discount"]
    assert (taken.detail["package"], line_title(taken)) == (sold, "All-in shop")
    assert "concession" not in taken.detail
    # 14 of the 28 days of February.
    assert lines(february, "package") == [("fixed", "package", "150.00"), ("tax", "vat", "13.50")]
    assert lines(february, "property")[-1] == ("discount", "package", "-166.03")
    fee = next(line for line in february.lines if line.service == "property" and line.kind == "discount")
    assert line_title(fee) == "All-in shop · 14 of 28 days"
    booked = await shop.site.rows("SELECT sum(amount) AS amount FROM posting WHERE ledger_account = 'revenue:package'")
    assert booked == [{"amount": Decimal("-450.00")}]
    assert await shop.site.proof() == []


async def test_a_package_sold_backwards_and_ended_early(shop: Shop) -> None:
    await shop.site.run(JANUARY)
    sold = await package(shop, "300", JANUARY, APRIL)
    assert await shop.work() == 1
    rows = await shop.site.rows("SELECT difference FROM adjustment ORDER BY difference")
    assert [str(row["difference"]) for row in rows] == ["-332.05", "-13.05"]
    await shop.site.run(FEBRUARY)
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.end_agreement(conn, sold, FEBRUARY)
    assert await shop.work() == 1
    rows = await shop.site.rows(
        """SELECT c.service, lower(c.period) AS month, a.difference
           FROM adjustment a JOIN charge c ON c.id = a.charge_id
           WHERE lower(c.period) > '2026-01-01' ORDER BY c.service, c.period"""
    )
    # February and March of the package come back, and February is owed as ever.
    assert [(row["service"], row["month"], str(row["difference"])) for row in rows] == [
        ("package", FEBRUARY, "-300.00"),
        ("package", MARCH, "-300.00"),
        ("property", FEBRUARY, "332.05"),
        ("water", FEBRUARY, "13.05"),
    ]


WRONG_PACKAGES: list[tuple[dict[str, Any], str]] = [
    ({"until": None}, "no-end"),
    ({"until": APRIL, "description": " "}, "no-name"),
    ({"until": APRIL, "contains": ("package",)}, "contains-itself"),
]


async def test_packages_and_changes_that_cannot_be(shop: Shop) -> None:
    for wrong, code in WRONG_PACKAGES:
        with pytest.raises(InvalidInput) as refused:
            await package(shop, "300", JANUARY, **wrong)
        assert refused.value.code == code
    (fee,) = await shop.site.rows("SELECT id FROM service_agreement WHERE service = 'property'")
    async with shop.site.db.transaction(SYSTEM) as conn:
        for attempt in (
            billing.change_rent(conn, fee["id"], [RentStep(JANUARY, Decimal(1))]),
            billing.change_tax(conn, fee["id"], VAT[0]),
            billing.take_back(conn, fee["id"], "why"),
        ):
            with pytest.raises(InvalidInput):
                await attempt
        await shop.rent()
    await file_area(shop, JANUARY, "90")
    with pytest.raises(Conflict):
        await file_area(shop, JANUARY, "91")


async def test_a_vacancy_needs_the_days_it_is_filed_for(shop: Shop) -> None:
    empty = NewConcession("vacancy", "Empty", "factor", Decimal("0.70"), JANUARY, None, "form", unit_id=1)
    async with shop.site.db.transaction(SYSTEM) as conn:
        for missing in (empty, replace(empty, valid_from=None, valid_until=MARCH)):
            with pytest.raises(InvalidInput, match="filed"):
                await conceded.file_concession(conn, shop.site.project.id, missing)
