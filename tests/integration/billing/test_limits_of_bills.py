"""A minimum or cap of a bill holds once, however the bill is cut: by prices, tariffs, meters or floor areas."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.charges import drafts
from cloud.billing.corrections.late_usage import Outcome, rerate_account, rerate_late
from cloud.billing.explanation import sentences
from cloud.billing.explanation.models import ExplanationOut
from cloud.billing.records import Bill
from cloud.billing.service import NewAgreement, RunOptions
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, day_start
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import Site, failures_of, make_site, noon
from tests.unit.cloud.billing.by_hand import add_up
from tests.unit.cloud.tariffs.reference_of_bills import Books, Home

JANUARY, TWENTIETH, FEBRUARY = date(2026, 1, 1), date(2026, 1, 20), date(2026, 2, 1)
DAYS = [JANUARY + timedelta(days=n) for n in range(31)]
ENERGY: dict[str, Any] = {"kind": "energy", "code": "energy", "prices": {"all": ["1"]}}
AREA: dict[str, Any] = {"kind": "area", "code": "care", "price": "2"}


def power(price: str = "1", **limits: str) -> TariffContent:
    """`limits`: minimum and cap of a bill."""
    of_bill = {name: {"amount": amount, "per": "bill"} for name, amount in limits.items()}
    part = {**ENERGY, "prices": {"all": [price]}}
    return TariffContent.model_validate(
        {"currency": "CNY", "service": "electricity", "unit": "kWh", "components": [part], **of_bill}
    )


@dataclass(frozen=True, slots=True)
class Power:
    """Flats whose meters are read every midnight of January."""

    site: Site

    async def publish(self, *versions: tuple[date, TariffContent], code: str = "power") -> int:
        async with self.site.db.transaction(SYSTEM) as conn:
            for since, content in versions:
                found = await tariffs.publish(conn, self.site.project.id, code, code, content.service, content, since)
        return found.tariff_id

    async def agree(self, tariff: int, *, flat: int = 0, meter: int | None = 0, **more: Any) -> int:
        """An agreement of a flat, by the meter of another or none."""
        found, since = self.site.flats[flat].account_id, more.pop("since", JANUARY)
        meter_id = None if meter is None else self.site.flats[meter].meters["electricity"]
        async with self.site.db.transaction(SYSTEM) as conn:
            service = more.pop("service", "electricity")
            new = NewAgreement(found, service, tariff, since, meter_id, **more)
            return (await billing.create_agreements(conn, self.site.project.id, [new]))[0].id

    async def count(self, used: Sequence[int], *, meter: int = 0) -> None:
        """What the meter counted day by day."""
        meter_id, zone, project = (
            self.site.flats[meter].meters["electricity"],
            self.site.project.zone,
            self.site.project,
        )
        async with self.site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, 1, %s, %s, %s)",
                [
                    (meter_id, day_start(day, zone), 5_000 + sum(used[:n]), project.id)
                    for n, day in enumerate([*DAYS, FEBRUARY])
                ],
            )
            await cursor.executemany(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                   VALUES (%s, 1, %s, 86400, %s, %s)""",
                [(meter_id, day_start(day, zone), wh, project.id) for day, wh in zip(DAYS, used, strict=True)],
            )

    async def late(self, day: date, wh: int, *, meter: int = 0) -> Outcome:
        """`wh` more were counted on a day than was billed; rates again."""
        zone, meter_id = self.site.project.zone, self.site.flats[meter].meters["electricity"]
        start, end = day_start(day, zone), day_start(day + timedelta(days=1), zone)
        await self.site.rows(
            """WITH readings AS (UPDATE store.reading SET value = value + %s WHERE meter_id = %s AND taken_at >= %s),
                    usage AS (UPDATE store.usage SET quantity = quantity + %s WHERE meter_id = %s AND start = %s)
               INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s) RETURNING 1""",
            wh, meter_id, end, wh, meter_id, start, meter_id, self.site.project.id, start, end,
        )  # fmt: skip
        return await rerate_late(self.site.db, SYSTEM, self.site.project.id)

    async def bill(self) -> Bill:
        """The bill of January, issued; it adds up by hand."""
        run = await self.site.run(JANUARY, noon(FEBRUARY))
        async with self.site.db.transaction(SYSTEM) as conn:
            assert await failures_of(conn, run.id) == []
            (row,) = await self.site.bills(run_id=run.id)
            bill = await billing.get_bill(conn, row.id)
            add_up(ExplanationOut.of(bill, await billing.explain(conn, bill)).model_dump(mode="json"))
        return bill

    async def charged(self) -> list[Decimal]:
        """What the charges come to with all corrections, in the order of time."""
        rows = await self.site.rows(
            """SELECT c.amount + coalesce((SELECT sum(difference) FROM adjustment WHERE charge_id = c.id), 0) AS amount
               FROM charge c ORDER BY c.period, c.agreement_id"""
        )
        return [row["amount"] for row in rows]

    async def why(self, bill: Bill) -> list[list[str]]:
        async with self.site.db.transaction(SYSTEM) as conn:
            return [sentences.sentences(one, "CNY") for one in await billing.explain(conn, bill)]


@pytest.fixture
async def at(worker_db: Database) -> Power:
    return Power(await (await make_site(worker_db, 2, services=())).may_leap())


def amounts(bill: Bill) -> list[str]:
    return [str(charge.amount) for charge in bill.charges]


def limit_lines(bill: Bill) -> list[tuple[str, str]]:
    return [(line.kind, str(line.amount)) for line in bill.lines if line.kind in ("minimum", "cap")]


async def test_one_cap_where_the_price_changes_within_the_bill(at: Power) -> None:
    """19 kWh at 2 and 12 at 3 are 74; the cap of 50 leaves 12 of it to the second part."""
    await at.count([1_000] * 31)
    await at.agree(await at.publish((JANUARY, power("2", cap="50")), (TWENTIETH, power("3", cap="50"))))
    bill = await at.bill()
    assert amounts(bill) == ["38.00", "12.00"]
    assert limit_lines(bill) == [("cap", "-24.00")]
    first, second = await at.why(bill)
    assert "The parts of this bill cost ¥50.00 together at most" in first
    assert "Earlier parts of this bill cost ¥38.00, which counts towards the cap of ¥50.00" in second
    kept = [one["bill_limits"] for one in bill.inputs["charges"]]
    assert [one["cap"]["before"] for one in kept] == ["0", "38.00"]
    assert await at.site.proof() == []


async def test_one_minimum_where_another_tariff_begins(at: Power) -> None:
    """Two agreements, 31 kWh at 1: the minimum of 50 is completed with the second, not charged with each."""
    await at.count([1_000] * 31)
    old, new = (
        await at.publish((JANUARY, power(minimum="50"))),
        await at.publish((JANUARY, power(minimum="50")), code="new"),
    )
    await at.agree(old, valid_until=TWENTIETH)
    await at.agree(new, since=TWENTIETH)
    bill = await at.bill()
    assert amounts(bill) == ["19.00", "31.00"]
    assert limit_lines(bill) == [("minimum", "19.00")]
    first, second = await at.why(bill)
    assert "What the parts of this bill lack to ¥50.00 together is charged with the last of them" in first
    assert "Earlier parts of this bill cost ¥19.00, which counts towards the minimum of ¥50.00" in second


async def test_minimums_that_differ_count_by_days(at: Power) -> None:
    await at.count([0] * 31)
    await at.agree(await at.publish((JANUARY, power(minimum="31")), (TWENTIETH, power(minimum="62"))))
    bill = await at.bill()
    assert amounts(bill) == ["0.00", "43.00"]
    assert "By the days of the bill: ¥31.00 × 19/31 + ¥62.00 × 12/31 = ¥43.00" in (await at.why(bill))[1]


async def test_two_meters_at_once_have_a_limit_each(at: Power) -> None:
    await at.count([1_000] * 31)
    await at.count([2_000] * 31, meter=1)
    tariff = await at.publish((JANUARY, power(minimum="50")), (TWENTIETH, power(minimum="50")))
    await at.agree(tariff)
    await at.agree(tariff, meter=1)
    assert limit_lines(await at.bill()) == [("minimum", "19.00")]


async def test_one_minimum_where_the_floor_area_changes(at: Power) -> None:
    """89.5 m² up to the 20th, 100 from then on, at 2 a month: 186.64 and the rest of the minimum of 200."""
    flat = at.site.flats[0]
    fee = TariffContent.model_validate(
        {"currency": "CNY", "service": "property", "components": [AREA], "minimum": {"amount": "200", "per": "bill"}}
    )
    await at.agree(await at.publish((JANUARY, fee), code="fee"), meter=None, service="property")
    await at.site.rows(
        """INSERT INTO billed_area (project_id, unit_id, from_day, area, reason)
           VALUES (%s, %s, %s, 100, 'measured') RETURNING 1""",
        at.site.project.id, flat.unit_id, TWENTIETH,
    )  # fmt: skip
    bill = await at.bill()
    assert bill.summary.total == Decimal(200)
    assert [kind for kind, _ in limit_lines(bill)] == ["minimum"]
    # It changed five days later: the second charge is cut, and the whole still comes to the minimum.
    await at.site.rows("UPDATE billed_area SET area = 90, from_day = '2026-01-25' RETURNING 1")
    async with at.site.db.transaction(SYSTEM) as conn:
        await rerate_account(conn, flat.account_id, JANUARY, cause="area")
    assert sum(await at.charged()) == Decimal(200)
    kept = await at.site.rows("SELECT inputs -> 'bill_limits' -> 'minimum' ->> 'last' AS last FROM adjustment")
    assert kept == [{"last": "true"}]


async def test_an_area_that_was_filed_late_is_no_second_minimum(at: Power) -> None:
    """One charge, cut afterwards: its two parts have one minimum between them."""
    flat = at.site.flats[0]
    fee = TariffContent.model_validate(
        {"currency": "CNY", "service": "property", "components": [AREA], "minimum": {"amount": "250", "per": "bill"}}
    )
    await at.agree(await at.publish((JANUARY, fee), code="fee"), meter=None, service="property")
    assert (await at.bill()).summary.total == Decimal(250)
    await at.site.rows(
        """INSERT INTO billed_area (project_id, unit_id, from_day, area, reason)
           VALUES (%s, %s, %s, 100, 'measured') RETURNING 1""",
        at.site.project.id, flat.unit_id, TWENTIETH,
    )  # fmt: skip
    async with at.site.db.transaction(SYSTEM) as conn:
        await rerate_account(conn, flat.account_id, JANUARY, cause="area")
        assert await rerate_account(conn, flat.account_id, JANUARY, cause="area") == Outcome()
        assert await rerate_account(conn, flat.account_id, JANUARY) == Outcome()
    assert await at.charged() == [Decimal(250)]


async def test_unchanged_data_yield_no_line(at: Power) -> None:
    await at.count([1_000] * 31)
    await at.agree(await at.publish((JANUARY, power(minimum="50")), (TWENTIETH, power("1.5", minimum="50"))))
    await at.bill()
    assert await at.late(JANUARY, 0) == Outcome()
    async with at.site.db.transaction(SYSTEM) as conn:
        for since in (JANUARY, date(2026, 1, 25)):
            for cause in ("usage", "facts", "area", "concession", "persons"):
                assert await rerate_account(conn, at.site.flats[0].account_id, since, cause=cause) == Outcome()
    assert await at.site.rows("SELECT FROM adjustment") == []


async def test_days_billed_out_of_order_are_not_touched_without_other_data(at: Power) -> None:
    """The first half was billed last and carries 0.004: the 16th to 19th would be a cent more now, the rest less."""
    half = date(2026, 1, 16)
    used = dict.fromkeys(DAYS, 0) | {JANUARY: 4_000, half: 10_003_000, TWENTIETH: 50_000_000}
    await at.count(list(used.values()))
    content = TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "components": [{**ENERGY, "prices": {"all": ["0.001"]}}],
            "tiers": {"window": {"kind": "year"}},
            "rounding": {"level": "bill", "cumulative": True},
            "cap": {"amount": "40", "per": "bill"},
        }
    )
    await at.agree(await at.publish((JANUARY, content), (TWENTIETH, content)))
    for period in (Period(half, FEBRUARY), Period(JANUARY, half)):
        async with at.site.db.transaction(SYSTEM) as conn:
            options = RunOptions(issue_at_once=True)
            job = await billing.start_run(conn, at.site.project.id, period, options=options)
            run = await billing.run_of_job(conn, job)
        await billing.execute_run(at.site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    assert await at.charged() == [Decimal("0.00"), Decimal("10.00"), Decimal("30.00")]
    assert await at.late(JANUARY, 0) == Outcome()
    async with at.site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, at.site.flats[0].account_id, JANUARY) == Outcome()
    # What is above the cap anyway costs nothing, and what is left of it is what the bill charged before: 10.00.
    assert await at.late(TWENTIETH, 1_000_000) == Outcome()
    assert await at.charged() == [Decimal("0.00"), Decimal("10.00"), Decimal("30.00")]
    assert await at.late(TWENTIETH, -46_000_000) == Outcome(adjusted=1)
    assert await at.late(TWENTIETH, 46_000_000) == Outcome(adjusted=1)
    assert sum(await at.charged()) == Decimal("40.00")


async def test_a_bill_from_before_limits_were_shared_keeps_its_two_minimums(
    at: Power, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each agreement had the minimum to itself, and its inputs say nothing of the other: late data find it so."""
    await at.count([1_000] * 31)
    first = await at.publish((JANUARY, power(minimum="25")))
    second = await at.publish((JANUARY, power(minimum="15")), code="other")
    await at.agree(first, valid_until=TWENTIETH)
    await at.agree(second, since=TWENTIETH)
    with monkeypatch.context() as then:
        then.setattr(drafts, "supplies", lambda by_agreement: [list(mine) for mine in by_agreement.values()])
        assert amounts(await at.bill()) == ["25.00", "15.00"]
    (inputs,) = await at.site.rows("SELECT inputs::text AS told FROM bill")
    assert "bill_limits" not in inputs["told"]
    account_id = at.site.flats[0].account_id
    for cause in ("usage", "facts", "area", "concession", "persons"):
        async with at.site.db.transaction(SYSTEM) as conn:
            assert await rerate_account(conn, account_id, JANUARY, cause=cause) == Outcome()
    assert await at.site.rows("SELECT FROM adjustment") == []
    assert await at.late(JANUARY, 8_000) == Outcome(adjusted=1)
    assert await at.charged() == [Decimal("27.00"), Decimal("15.00")]
    assert await at.late(JANUARY, -8_000) == Outcome(adjusted=1)
    assert await at.charged() == [Decimal("25.00"), Decimal("15.00")]
    assert await at.site.proof() == []


async def test_late_usage_of_one_part_moves_what_the_limits_do_to_the_next(at: Power) -> None:
    """19 + 12 kWh at 1, between 35 and 40: 30 kWh more before the 20th use up the cap, 31 less leave the minimum."""
    await at.count([1_000] * 31)
    limits = {"minimum": "35", "cap": "40"}
    await at.agree(await at.publish((JANUARY, power(**limits)), (TWENTIETH, power(**limits))))
    assert amounts(await at.bill()) == ["19.00", "16.00"]
    assert await at.late(JANUARY, 30_000) == Outcome(adjusted=2)
    assert await at.charged() == [Decimal("40.00"), Decimal("0.00")]
    assert await at.late(JANUARY, -31_000) == Outcome(adjusted=2)
    assert await at.charged() == [Decimal("18.00"), Decimal("17.00")]
    # Nothing to pay, but other lines: what the second part counts more, its minimum is less.
    assert await at.late(TWENTIETH, 3_000) == Outcome()
    assert await at.charged() == [Decimal("18.00"), Decimal("17.00")]
    assert await at.late(JANUARY, 0) == Outcome()
    assert await at.site.proof() == []


async def test_late_usage_of_another_meter_moves_the_charge_that_shares_the_limit(at: Power) -> None:
    """A new meter with an agreement of its own from the 20th: only the old one was read late."""
    await at.count([1_000] * 31)
    await at.count([1_000] * 31, meter=1)
    tariff = await at.publish((JANUARY, power(minimum="50")))
    await at.agree(tariff, valid_until=TWENTIETH)
    await at.agree(tariff, since=TWENTIETH, meter=1)
    assert amounts(await at.bill()) == ["19.00", "31.00"]
    assert await at.late(JANUARY, 4_000) == Outcome(adjusted=2)
    assert await at.charged() == [Decimal("23.00"), Decimal("27.00")]
    assert await at.late(date(2026, 1, 31), 1_000, meter=1) == Outcome()
    assert await at.late(JANUARY, -4_000) == Outcome(adjusted=2)
    assert await at.charged() == [Decimal("19.00"), Decimal("31.00")]
    async with at.site.db.transaction(SYSTEM) as conn:
        assert await rerate_account(conn, at.site.flats[0].account_id, date(2026, 1, 25)) == Outcome()


@pytest.mark.parametrize("seed", range(3))
async def test_late_data_that_come_again_and_again_converge(at: Power, seed: int) -> None:
    """To what a fresh bill of the usage known in the end would be, by the reference."""
    random = Random(seed)
    used = [random.randrange(3_000) for _ in DAYS]
    await at.count(used)
    amount = [str(random.randrange(20, 90)) for _ in range(6)]
    starts = [JANUARY, date(2026, 1, 9), TWENTIETH]
    versions = [
        (since, power("1.37", **{random.choice(["minimum", "cap"]): amount[n]})) for n, since in enumerate(starts)
    ]
    await at.agree(await at.publish(*versions))
    await at.bill()
    for _ in range(4):
        day = random.randrange(31)
        more = random.randrange(-used[day], 40_000)
        used[day] += more
        await at.late(DAYS[day], more)
    home = Home(
        JANUARY, date(2099, 1, 1), {day: [("all", Decimal(wh) / 1000)] for day, wh in zip(DAYS, used, strict=True)}, ()
    )
    assert await at.charged() == [one.total for one in Books(versions, home).bill(JANUARY, FEBRUARY)]
    assert await at.site.proof() == []
