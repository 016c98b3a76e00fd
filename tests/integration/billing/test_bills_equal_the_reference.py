"""Random tariffs on random homes: every charge equals what the reference works out day by day, in Decimals.

All at once: prices by season, period and tier; a new price in mid-month; tiers of a year across the ends of months; a
household that grows and shrinks; people who move in and out; minimum, cap, standing charges and tax.
"""

from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.records import Charge
from cloud.billing.service import NewAgreement
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, next_month
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import Site, failures_of, make_site
from tests.unit.cloud.tariffs.reference import Result
from tests.unit.cloud.tariffs.reference_of_bills import DAY, Books, Home

START, END = date(2026, 2, 1), date(2026, 5, 1)
DAYS = [START + n * DAY for n in range((END - START).days)]
HOURS = {"valley": ["00:00-08:00"], "flat": ["08:00-16:00"], "peak": ["16:00-24:00"]}
"""Eight hours each: usage of a day is three stretches, in this order."""
STAYS = date(2099, 1, 1)
"""When somebody moves out of whom nothing is known yet."""
FLATS = 10
SEEDS = 8


OTHER_LIMITS: list[dict[str, Any]] = [
    {"minimum": {"amount": "30", "per": "month"}},
    {"minimum": {"amount": "900", "per": "month"}},
    {"minimum": {"amount": "25.5", "per": "day"}, "cap": {"amount": "26", "per": "day"}},
    {"cap": {"amount": "1", "per": "month"}},
    {"cap": {"amount": "700", "per": "month"}},
    {},
]
LIMITS_OF_BILLS: list[dict[str, Any]] = [
    {"minimum": {"amount": "45.67", "per": "bill"}},
    {"minimum": {"amount": "900", "per": "bill"}},
    {"minimum": {"amount": "40", "per": "bill"}, "cap": {"amount": "333.33", "per": "bill"}},
    {"cap": {"amount": "20", "per": "bill"}},
    {"cap": {"amount": "500", "per": "bill"}},
]
"""Of all the pieces of a bill together, however it is cut."""


def random_tariff(random: Random, shape: dict[str, Any]) -> TariffContent:
    """Prices, bounds and limits at random; what versions of one tariff have in common is in `shape`."""

    def price() -> str:
        return format(Decimal(random.randrange(0, 3_000_000)).scaleb(-random.choice([2, 4, 6])) % 3, "f")

    def matrix(tiers: int) -> dict[str, dict[str, list[str]]]:
        """Season, period, tier: each cell has a price of its own."""
        return {
            season["code"]: {code: [price() for _ in range(tiers)] for code in HOURS} for season in shape["seasons"]
        }

    bounds = sorted(random.sample(range(50, 2_500), random.choice([1, 2, 2])))
    energy = [
        {"kind": "energy", "code": f"energy{n}", "by_season": matrix(len(bounds) + 1),
         "factor": random.choice(["1", "1", "0.9"])}
        for n in range(random.choice([1, 1, 2]))
    ]  # fmt: skip
    standing = random.sample(
        [
            {"kind": "fixed", "code": "daily", "per": "day", "price": price()},
            {"kind": "fixed", "code": "monthly", "per": "month", "price": price()},
            {"kind": "fixed", "code": "begun", "per": "month", "price": price(), "partial": "full"},
        ],
        random.randrange(0, 3),
    )
    shares = random.sample([{"kind": "surcharge", "code": "more", "percent": "12.3456"}], random.randrange(0, 2))
    tax = {"kind": "tax", "code": "vat", "percent": random.choice(["13", "0.3333"]), "inclusive": random.random() < 0.5}
    level = random.choice(["line", "component", "bill"])
    limits = random.choice(LIMITS_OF_BILLS if shape["limits_of_bills"] else OTHER_LIMITS)
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "components": [*energy, *standing, *shares, tax],
            "tiers": {"bounds": bounds, "window": shape["window"]},
            "household": shape["household"] | {"tiers": random.choice([[1], list(range(1, len(bounds) + 1))])},
            "seasons": shape["seasons"],
            "periods": shape["periods"],
            "rounding": {"level": level, "cumulative": level == "bill" and random.random() < 0.5},
        }
        | limits
    )


def random_shape(random: Random) -> dict[str, Any]:
    """Window, household rule, seasons and hours: seasons and the tiers of a year may turn in the months billed."""
    window = random.choice(
        [
            *({"kind": "year", "anchor": anchor, "partial": partial}
              for anchor in ("01-01", "03-01", "06-01") for partial in ("full", "by_month", "by_day")),
            {"kind": "year", "anchor": "03-15", "partial": "by_day"},
            {"kind": "month"}, {"kind": "month", "partial": "by_day"},
        ]
    )  # fmt: skip
    turn = date(2026, 2, 10) + timedelta(days=random.randrange(60))
    method = random.choice(["proportional", "priority", "chronological"])
    order = random.sample(list(HOURS), 3) if method == "priority" else []
    return {
        "window": window,
        "limits_of_bills": random.random() < 0.5,
        "household": {
            "from_persons": 4, "raise_bounds_by": random.randrange(1, 90),
            "per": "month" if window["kind"] == "month" else random.choice(["month", "year"]),
            "each": random.choice(["household", "extra_person"]),
        },
        "seasons": [
            {"code": "winter", "first": "10-01", "last": f"{turn - DAY:%m-%d}"},
            {"code": "summer", "first": f"{turn:%m-%d}", "last": "09-30"},
        ],
        "periods": {
            "codes": list(HOURS), "allocation": {"method": method, "order": order}, "schedule": [{"hours": HOURS}],
        },
    }  # fmt: skip


def random_home(random: Random) -> Home:
    """Some move in or out in the months billed; the household changes twice at most."""
    moved_in = random.choice([START, START, random.choice(DAYS[1:40])])
    moved_out = random.choice([STAYS, STAYS, random.choice(DAYS[45:])])
    most = random.choice([1, 5_000, 12_000])
    used = {day: [(code, Decimal(random.randrange(most)).scaleb(-3)) for code in HOURS] for day in DAYS}
    changes = sorted(random.sample(DAYS[1:], random.randrange(0, 3)))
    persons = [(day, random.randrange(1, 9)) for day in [date(2025, 1, 1), *changes]]
    return Home(moved_in, moved_out, used, persons)


async def settle_in(site: Site, homes: list[Home], tariff_id: int) -> None:
    """Agreements, filings, and what the meters say: their registers at every midnight, usage of every eight hours."""
    zone, readings, usage, agreements = site.project.zone, [], [], []
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        for flat, home in zip(site.flats, homes, strict=True):
            meter_id, value = flat.meters["electricity"], 5_000_000
            until = None if home.moved_out == STAYS else home.moved_out
            agreements.append(
                NewAgreement(flat.account_id, "electricity", tariff_id, home.moved_in, meter_id, valid_until=until)
            )
            for (since, persons), (later, _) in zip(home.persons, [*home.persons[1:], (None, 0)], strict=True):
                await estate.create_household(conn, site.project.id, flat.unit_id, persons, since, later)
            for day in DAYS:
                start = day_start(day, zone)
                readings.append((meter_id, start, value, site.project.id))
                for n, (_, used) in enumerate(home.used[day]):
                    quantity = int(used * 1000)
                    value += quantity
                    usage.append((meter_id, start + timedelta(hours=8 * n), quantity, site.project.id))
            readings.append((meter_id, day_start(END, zone), value, site.project.id))
        await billing.create_agreements(conn, site.project.id, agreements)
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, %s, %s)",
            readings,
        )
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%s, 1, %s, 28800, %s, %s)""",
            usage,
        )


def _of_reference(found: Result) -> tuple[Decimal, list[tuple[str, Decimal]]]:
    return found.total, sorted((component, quantity) for component, _, _, quantity, _ in found.lines)


def _of_charge(charge: Charge) -> tuple[Decimal, list[tuple[str, Decimal]]]:
    direct = [line for line in charge.lines if line.kind in ("usage", "fixed")]
    return charge.amount, sorted((line.component, line.quantity or Decimal(0)) for line in direct)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_every_charge_equals_the_reference(worker_db: Database, seed: int) -> None:
    random = Random(seed)
    shape = random_shape(random)
    # The first day of the dearer version lies within a month; sometimes on its first day.
    versions = [
        (date(2026, 1, 1), random_tariff(random, shape)),
        (random.choice(DAYS[20:50]), random_tariff(random, shape)),
    ]
    homes = [random_home(random) for _ in range(FLATS)]
    site = await make_site(worker_db, FLATS, services=())
    await site.may_leap()
    async with worker_db.transaction(SYSTEM) as conn:
        for since, content in versions:
            sold = await tariffs.publish(conn, site.project.id, "power", "Power", "electricity", content, since)
    await settle_in(site, homes, sold.tariff_id)
    books = [Books(versions, home) for home in homes]
    month, pieces = START, 0
    while month < END:
        run = await site.run(month)
        async with worker_db.transaction(SYSTEM) as conn:
            assert await failures_of(conn, run.id) == []
            bills = [await billing.get_bill(conn, row.id) for row in await site.bills(run_id=run.id)]
        charged = {bill.summary.account_id: bill.charges for bill in bills}
        for flat, book in zip(site.flats, books, strict=True):
            expected = [_of_reference(one) for one in book.bill(month, next_month(month))]
            assert [_of_charge(one) for one in charged.get(flat.account_id, ())] == expected, (month, book.home)
            pieces += len(expected)
        month = next_month(month)
    assert pieces > 2 * FLATS, "months are cut"
    assert await site.proof() == []
