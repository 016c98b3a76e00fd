"""Promise 9: "Late fees: simple daily rate on unpaid principal, never on fees; grace days, year-split rates, minimum,
cap, waiver with approver, frozen while disputed, partial payment lowers the base; they stop on the day of payment."

Each of its words, on bills of 210.33 that are due on 16 February.
"""

from datetime import date
from decimal import Decimal

import httpx
import pytest

from cloud.billing import service as billing
from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from tests.acceptance.money.office import Office
from tests.integration.app import People
from tests.integration.payments.owing import FEE, JANUARY, RULE, Owing, make_owing, user

DUE = date(2026, 2, 16)


async def _owing(db: Database, **rule: Decimal | int) -> Owing:
    whole = {"daily_rate": Decimal("0.001"), **rule}
    return await make_owing(db, Policy(due_days=15, late_fee=LateFeeRule(**whole)), (JANUARY,))  # type: ignore[arg-type]


async def test_a_simple_daily_rate_on_unpaid_principal_never_on_fees(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    for days in (1, 10, 100, 1000):
        await owing.night(date.fromordinal(DUE.toordinal() + days))
        (bill,) = await owing.bills()
        # Not compounded: after a thousand days it is still a thousandth of the principal a day.
        assert bill.late_fee == round(FEE * days / 1000, 2)
    assert await owing.site.proof() == []


async def test_a_late_fee_that_is_left_over_bears_none_itself(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    # Ten days late he pays the bill, and not the 2.10 that came on top.
    await owing.pay(FEE, date(2026, 2, 26))
    for day in (date(2026, 2, 27), date(2026, 12, 31), date(2028, 12, 31)):
        await owing.night(day)
        (bill,) = await owing.bills()
        assert (bill.open, bill.late_fee_open) == (Decimal(0), Decimal("2.10"))
    # And what he pays for a later bill goes into that first: fees are never paid before principal.
    await owing.site.run(date(2026, 2, 1))
    done = await owing.pay(FEE, date(2026, 3, 10))
    assert [(part.principal, part.late_fee) for part in done.settlement.allocations] == [(FEE, Decimal(0))]


async def test_grace_days_are_free(worker_db: Database) -> None:
    owing = await _owing(worker_db, grace_days=5)
    await owing.night(date(2026, 2, 21))
    assert (await owing.fee()).amount == 0
    await owing.night(date(2026, 2, 26))
    assert [(step["first"], step["days"]) for step in (await owing.fee()).steps] == [("2026-02-22", 5)]


async def test_year_split_rates(worker_db: Database) -> None:
    owing = await _owing(worker_db, daily_rate=Decimal("0.002"), later_rate=Decimal("0.003"))
    await owing.night(date(2027, 1, 31))
    fee = await owing.fee()
    assert [(step["days"], step["rate"]) for step in fee.steps] == [(318, "0.002"), (31, "0.003")]
    assert fee.amount == round(FEE * (318 * 2 + 31 * 3) / 1000, 2)


async def test_minimum_and_cap(worker_db: Database) -> None:
    owing = await _owing(worker_db, minimum=Decimal("1.00"), cap_share=Decimal("0.1"))
    await owing.night(date(2026, 2, 17))
    assert (await owing.fee()).amount == Decimal("1.00")
    await owing.night(date(2027, 2, 17))
    assert (await owing.fee()).amount == Decimal("21.03")


async def test_a_waiver_has_an_approver(worker_db: Database, owner_db: Database) -> None:
    owing = await _owing(worker_db)
    await owing.night(date(2026, 2, 26))
    (bill,) = await owing.bills()
    async with worker_db.transaction(SYSTEM) as conn:
        anna, bert = await user(conn, "anna"), await user(conn, "bert")
        asked = await billing.ask_waiver(conn, bill.id, Decimal("2.00"), "flood", by=anna)
        with pytest.raises(Conflict) as own:
            await billing.approve_waiver(conn, asked.id, Policy(), by=anna)
        assert own.value.code == "own-request"
        approved = await billing.approve_waiver(conn, asked.id, Policy(), by=bert)
    assert (approved.state, approved.asked_by, approved.decided_by) == ("approved", anna, bert)
    (bill,) = await owing.bills()
    assert (bill.late_fee, bill.late_fee_open) == (Decimal("0.10"), Decimal("0.10"))
    done = await owing.pay(FEE + Decimal("0.10"), date(2026, 2, 26))
    assert done.settlement.surplus == 0
    async with owner_db.transaction(SYSTEM) as conn:
        query = "SELECT action FROM audit_entry WHERE table_name = 'late_fee_waiver' ORDER BY id"
        assert [row["action"] for row in await (await conn.execute(query)).fetchall()] == ["insert", "update"]
    revenue = await owing.site.rows(
        "SELECT -sum(amount) AS fees FROM posting WHERE ledger_account = 'revenue:late_fee'"
    )
    assert revenue == [{"fees": Decimal("0.10")}]
    assert await owing.site.proof() == []


async def test_whoever_asks_for_a_waiver_does_not_approve_it_over_rest_either(
    worker_db: Database, app_client: httpx.AsyncClient, people: People
) -> None:
    owing = await _owing(worker_db)
    await owing.night(date(2026, 2, 26))
    (bill,) = await owing.bills()
    anna = Office(owing.site, app_client, await people.staff("manager", owing.site.project.id))
    bert = Office(owing.site, app_client, await people.staff("manager", owing.site.project.id))
    asked = await anna.post(f"bills/{bill.id}/late-fee-waivers", amount="2.10", reason="flood")
    path = f"late-fee-waivers/{asked['id']}/decisions"
    assert await anna.refused(path, decision="approve") == (409, "own-request")
    decided = await bert.post(path, decision="approve", note="the cellar was under water")
    assert decided["asked_by"] != decided["decided_by"]
    assert (await anna.get(f"bills/{bill.id}"))["late_fee_open"]["amount"] == "0.00"


async def test_a_late_fee_explains_itself(worker_db: Database, app_client: httpx.AsyncClient, people: People) -> None:
    """days × principal × rate, stretch by stretch, as the resident reads it."""
    owing = await _owing(worker_db, later_rate=Decimal("0.0015"), grace_days=3)
    await owing.pay("110.33", date(2026, 3, 8))
    await owing.night(date(2027, 1, 10))
    mine = await people.resident(owing.site.project.id, owing.site.flats[0].person_id)
    (bill,) = await owing.bills()
    told = await Office(owing.site, app_client, mine).get(f"bills/{bill.id}/explanation")
    parts = [
        (step["days"], Decimal(step["days"]) * Decimal(step["principal"]) * Decimal(step["rate"]))
        for step in told["late_fee_steps"]
    ]
    # 17 days on 210.33 and 298 days on 100.00 in 2026, 10 days of 2027 at another rate; three days were free.
    assert [days for days, _ in parts] == [17, 298, 10]
    assert [Decimal(step["part"]) for step in told["late_fee_steps"]] == [part for _, part in parts]
    whole = sum((part for _, part in parts), Decimal(0)).quantize(Decimal("0.01"), "ROUND_HALF_UP")
    assert Decimal(told["late_fee"]["amount"]) == whole == Decimal("34.88")


async def test_frozen_while_disputed(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    (bill,) = await owing.bills()
    async with worker_db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(
            conn, bill.id, "too high", Decimal("110.33"), by=None, by_resident=False, today=date(2026, 2, 27)
        )
    (bill,) = await owing.bills()
    assert (bill.state, bill.undisputed, bill.overdue(date(2026, 3, 1))) == ("disputed", Decimal(100), False)
    await owing.night(date(2026, 3, 8))
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.reject_dispute(conn, opened.id, "it is right", by=None, today=date(2026, 3, 8))
    await owing.night(date(2026, 3, 18))
    steps = [(step["first"], step["days"], step["principal"]) for step in (await owing.fee()).steps]
    assert steps == [("2026-02-17", 10, "210.33"), ("2026-02-27", 10, "100.00"), ("2026-03-09", 10, "210.33")]
    assert (await owing.fee()).amount == Decimal("5.21")
    assert (await owing.bills())[0].state == "issued"


async def test_a_partial_payment_lowers_the_base(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    await owing.pay("110.33", date(2026, 2, 26))
    await owing.night(date(2026, 3, 8))
    assert [(step["days"], step["principal"]) for step in (await owing.fee()).steps] == [(10, "210.33"), (10, "100.00")]


async def test_it_stops_on_the_day_of_payment(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    await owing.pay(FEE, date(2026, 2, 26))
    await owing.night(date(2026, 12, 31))
    (bill,) = await owing.bills()
    assert (bill.state, bill.late_fee) == ("paid", Decimal("2.10"))


async def test_a_payment_that_is_entered_late_lowers_it_at_once(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    await owing.night(date(2026, 3, 28))
    assert (await owing.fee()).amount == Decimal("8.41")
    await owing.pay("110.33", date(2026, 2, 26))
    fee = await owing.fee()
    assert (fee.amount, fee.through) == (Decimal("5.10"), date(2026, 3, 28))
    assert [(step["days"], step["principal"]) for step in fee.steps] == [(10, "210.33"), (30, "100.00")]


async def test_terms_of_the_day_of_issue_hold(worker_db: Database) -> None:
    owing = await _owing(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        dearer = Policy(late_fee=LateFeeRule(daily_rate=Decimal("0.003")))
        await billing.set_policy(conn, owing.site.project.id, date(2026, 2, 20), dearer)
    await owing.night(date(2026, 2, 26))
    assert (await owing.fee()).amount == round(FEE * 10 * RULE.daily_rate, 2)
