"""Disputes, waivers and instalment plans: what they do to bills, payments and late fees, and what they refuse."""

import asyncio
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.records import PlanBreak
from cloud.billing.service import Monthly, Plan, Policy
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError
from tests.integration.payments.owing import FEE, RULE, Owing, make_owing, user
from tests.worlds import World, world

ALONE = Policy(due_days=15, late_fee=RULE, own_approval=True)
FIRST_OF_MARCH = date(2026, 3, 1)


@world
async def owing_world(db: Database) -> Owing:
    """Two bills, due on 16 February and 16 March; one per mille a day."""
    return await make_owing(db, ALONE)


@pytest.fixture
def owing(owing_world: World[Owing], worker_db: Database) -> Owing:
    """That world, which only this test changes."""
    return owing_world.of(worker_db)


async def _plan(owing: Owing, today: date = FIRST_OF_MARCH, policy: Policy = ALONE, bills: int = 1) -> Plan:
    """The oldest bills in three parts: on 10 March, April and May."""
    ids = [bill.id for bill in (await owing.bills())[:bills]]
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await billing.ask_plan(
            conn, owing.account_id, ids, Monthly(date(2026, 3, 10), 3), "lost the job", by=None, today=today
        )
        return await billing.approve_plan(conn, asked.id, policy, by=None, today=today)


async def _again(owing: Owing, plan: Plan) -> Plan:
    async with owing.db.transaction(SYSTEM) as conn:
        return await billing.get_plan(conn, plan.id)


async def test_what_is_disputed_is_not_paid_by_accident(owing: Owing) -> None:
    first, _ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(
            conn, first.id, "too high", Decimal("60.33"), by=None, by_resident=False, today=FIRST_OF_MARCH
        )
    done = await owing.pay("400.00", date(2026, 3, 2))
    assert [part.principal for part in done.settlement.allocations] == [Decimal("150.00"), FEE]
    assert done.settlement.allocations[0].late_fee == 0
    assert done.settlement.surplus == Decimal("39.67")
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.withdraw_dispute(conn, opened.id, by=None, by_resident=False, today=date(2026, 3, 3))
    assert [(bill.state, bill.open) for bill in await owing.bills()] == [("issued", Decimal("60.33")), ("paid", 0)]
    assert await owing.site.proof() == []


async def test_what_is_upheld_bears_nothing_and_waits_for_its_credit_note(owing: Owing) -> None:
    first, _ = await owing.bills()
    await owing.night(FIRST_OF_MARCH)
    assert (await owing.fee()).amount == Decimal("2.73")
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(
            conn, first.id, "too high", None, by=None, by_resident=True, today=FIRST_OF_MARCH
        )
        with pytest.raises(GatemeterError) as more:
            await billing.uphold_dispute(conn, opened.id, "yes", FEE + 1, by=None, today=FIRST_OF_MARCH)
        assert more.value.code == "bad-amount"
        await billing.uphold_dispute(conn, opened.id, "misread", Decimal("110.33"), by=None, today=FIRST_OF_MARCH)
    fee = await owing.fee()
    assert [(step["days"], step["principal"]) for step in fee.steps] == [(12, "100.00")]
    first, _ = await owing.bills()
    assert (first.state, first.undisputed) == ("disputed", Decimal("100.00"))
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.dispute_credited(conn, opened.id, date(2026, 3, 5))
        with pytest.raises(Conflict):
            await billing.dispute_credited(conn, opened.id, date(2026, 3, 5))
    assert (await owing.bills())[0].state == "issued"


async def test_a_bill_that_is_credited_whole_is_settled(owing: Owing) -> None:
    first, _ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(conn, first.id, "no", by=None, by_resident=True, today=FIRST_OF_MARCH)
        await billing.uphold_dispute(conn, opened.id, "not his flat", by=None, today=FIRST_OF_MARCH)
        # What a credit note does: it takes principal off the bill by an allocation of its own.
        await conn.execute(
            """WITH made AS (INSERT INTO set_off (project_id, account_id, source, amount, currency, set_off_on)
                             VALUES (%(project)s, %(account)s, 'balance', %(fee)s, 'CNY', '2026-03-05')
                             RETURNING id, project_id)
               INSERT INTO payment_allocation (project_id, set_off_id, bill_id, paid_on, principal)
               SELECT project_id, id, %(bill)s, '2026-03-05', %(fee)s FROM made""",
            {"project": owing.site.project.id, "account": owing.account_id, "fee": FEE, "bill": first.id},
        )
        await billing.dispute_credited(conn, opened.id, date(2026, 3, 5))
    first, _ = await owing.bills()
    assert (first.state, first.settled_on, first.late_fee) == ("paid", date(2026, 3, 5), Decimal(0))


async def test_disputes_that_cannot_be(owing: Owing) -> None:
    first, second = await owing.bills()

    async def refused(code: str, bill_id: int, amount: str | None, *, by_resident: bool = False) -> None:
        wanted = None if amount is None else Decimal(amount)
        async with owing.db.transaction(SYSTEM) as conn:
            with pytest.raises(GatemeterError) as error:
                await billing.open_dispute(
                    conn, bill_id, "no", wanted, by=None, by_resident=by_resident, today=FIRST_OF_MARCH
                )
        assert error.value.code == code

    await refused("no-such-bill", 999_999, None)
    for amount in ("0", "-1", "210.34", "1.001"):
        await refused("bad-amount", first.id, amount)
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(conn, first.id, "no", None, by=None, by_resident=True, today=FIRST_OF_MARCH)
    await refused("already-disputed", first.id, None)
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.reject_dispute(conn, opened.id, "it is right", by=None, today=FIRST_OF_MARCH)
        with pytest.raises(Conflict, match="rejected already"):
            await billing.uphold_dispute(conn, opened.id, "yes", by=None, today=FIRST_OF_MARCH)
    await refused("dispute-rejected", first.id, None, by_resident=True)
    await _plan(owing)
    await refused("bill-in-plan", first.id, None)
    assert (await owing.bills())[1] == second


async def test_a_dispute_is_final_in_the_database(owing: Owing) -> None:
    first, _ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(conn, first.id, "no", by=None, by_resident=True, today=FIRST_OF_MARCH)
        await billing.reject_dispute(conn, opened.id, "it is right", by=None, today=FIRST_OF_MARCH)
    for change in ("state = 'open', closed_on = NULL", "reason = 'yes'", "note = ''"):
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="decided once"):
            async with owing.db.transaction(SYSTEM) as conn:
                await conn.execute(f"UPDATE bill_dispute SET {change} WHERE id = {opened.id}")


async def test_a_waiver_is_never_more_than_what_is_open(owing: Owing) -> None:
    await owing.night(date(2026, 2, 26))
    first, _ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        for amount in ("2.11", "0", "0.001"):
            with pytest.raises(GatemeterError) as error:
                await billing.ask_waiver(conn, first.id, Decimal(amount), "flood", by=None)
            assert error.value.code == "bad-amount"
        asked = await billing.ask_waiver(conn, first.id, Decimal("2.10"), "flood", by=None)
        with pytest.raises(Conflict) as second:
            await billing.ask_waiver(conn, first.id, Decimal("1.00"), "flood", by=None)
        assert second.value.code == "already-asked"
    await owing.pay(2 * FEE + 1, date(2026, 2, 26))
    async with owing.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict) as changed:
            await billing.approve_waiver(conn, asked.id, ALONE, by=None)
        assert changed.value.code == "amount-changed"
        await billing.reject_waiver(conn, asked.id, "paid meanwhile", by=None)
        with pytest.raises(Conflict) as decided:
            await billing.approve_waiver(conn, asked.id, ALONE, by=None)
        assert decided.value.code == "already-decided"
    assert (await owing.bills())[0].late_fee_open == Decimal("1.10")


async def test_a_plan_adds_up_and_stops_late_fees_while_it_is_kept(owing: Owing) -> None:
    await owing.night(date(2026, 2, 28))
    plan = await _plan(owing)
    assert [one.amount for one in plan.instalments] == [Decimal("70.11")] * 3
    await owing.pay("70.11", date(2026, 3, 10))
    await owing.pay("70.11", date(2026, 4, 10))
    await owing.night(date(2026, 5, 12))
    first, second = await owing.bills()
    assert (first.late_fee, first.in_plan, first.overdue(date(2026, 5, 12))) == (Decimal("2.52"), True, False)
    # The second bill was no part of the plan: 57 days late.
    assert (second.open, second.late_fee) == (FEE, Decimal("11.99"))
    plan = await _again(owing, plan)
    assert [one.settled_on for one in plan.progress] == [date(2026, 3, 10), date(2026, 4, 10), None]
    await owing.pay(Decimal("70.11") + FEE, date(2026, 5, 12))
    plan = await _again(owing, plan)
    assert (plan.state, plan.ended_on) == ("kept", date(2026, 5, 12))
    assert await owing.site.proof() == []


async def test_money_for_a_new_bill_does_not_go_into_later_instalments(owing: Owing) -> None:
    plan = await _plan(owing)
    done = await owing.pay(Decimal("70.11") + FEE, date(2026, 3, 15))
    assert [part.principal for part in done.settlement.allocations] == [Decimal("70.11"), FEE]
    assert (await _again(owing, plan)).paid_total == Decimal("70.11")


@pytest.mark.parametrize(
    ("on_break", "steps"),
    [
        ("due-date", [("2026-02-17", 37, "210.33")]),
        ("break", [("2026-02-17", 12, "210.33"), ("2026-03-16", 10, "210.33")]),
    ],
)
async def test_a_missed_instalment_breaks_the_plan(
    owing: Owing, on_break: PlanBreak, steps: list[tuple[str, int, str]]
) -> None:
    """Due on 10 March, five days late at most: broken on the 16th."""
    plan = await _plan(owing, policy=Policy(own_approval=True, plan_days=5, plan_break=on_break))
    await owing.night(date(2026, 3, 15))
    assert (await _again(owing, plan)).state == "active"
    await owing.night(date(2026, 3, 25))
    plan = await _again(owing, plan)
    assert (plan.state, plan.ended_on) == ("broken", date(2026, 3, 16))
    found = [(step["first"], step["days"], step["principal"]) for step in (await owing.fee()).steps]
    assert found == steps
    # Its bills are paid by their own dates again, and may be divided anew.
    await _plan(owing, today=date(2026, 3, 10))


async def test_plans_that_cannot_be(owing: Owing) -> None:
    first, second = await owing.bills()
    other = (await owing.site.bills(account_id=owing.site.flats[1].account_id))[0]
    half = Decimal("105.16")
    for bill_ids, parts, code in (
        ([], Monthly(date(2026, 3, 10), 3), "bad-bills"),
        ([other.id], Monthly(date(2026, 3, 10), 3), "bad-bills"),
        ([first.id], Monthly(date(2026, 2, 10), 3), "bad-dates"),
        ([first.id], Monthly(date(2026, 3, 10), 61), "bad-instalments"),
        ([first.id], [(date(2026, 3, 10), half), (date(2026, 4, 10), half)], "does-not-add-up"),
        ([first.id], [(date(2026, 3, 10), half), (date(2026, 3, 10), FEE - half)], "bad-dates"),
        ([first.id], [(date(2026, 3, 10), FEE + 1), (date(2026, 4, 10), Decimal(-1))], "bad-instalments"),
        ([first.id], [], "bad-instalments"),
    ):
        async with owing.db.transaction(SYSTEM) as conn:
            with pytest.raises(GatemeterError) as error:
                await billing.ask_plan(
                    conn,
                    owing.account_id,
                    bill_ids,
                    parts,
                    "why",
                    by=None,
                    today=FIRST_OF_MARCH,
                )
        assert error.value.code == code
    async with owing.db.transaction(SYSTEM) as conn:
        anna = await user(conn, "anna")
        asked = await billing.ask_plan(
            conn, owing.account_id, [second.id], Monthly(date(2026, 3, 10), 2), "why", by=anna, today=FIRST_OF_MARCH
        )
        with pytest.raises(Conflict, match="somebody else"):
            await billing.approve_plan(conn, asked.id, Policy(), by=anna, today=FIRST_OF_MARCH)
    await owing.pay(FEE + 1, FIRST_OF_MARCH)
    async with owing.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="has changed"):
            await billing.approve_plan(conn, asked.id, ALONE, by=None, today=FIRST_OF_MARCH)
        await billing.reject_plan(conn, asked.id, "ask again", by=None)


async def test_one_plan_of_an_account_even_at_once(owing: Owing) -> None:
    results = await asyncio.gather(_plan(owing), _plan(owing), return_exceptions=True)
    assert sorted(type(one).__name__ for one in results) in (["Conflict", "Plan"], ["InvalidInput", "Plan"])


async def test_a_cancelled_plan_counts_from_the_day_it_ends(owing: Owing) -> None:
    plan = await _plan(owing)
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.cancel_plan(conn, plan.id, "found work", today=date(2026, 3, 6))
    await owing.night(date(2026, 3, 10))
    assert [(step["first"], step["days"]) for step in (await owing.fee()).steps] == [
        ("2026-02-17", 12),
        ("2026-03-06", 5),
    ]
