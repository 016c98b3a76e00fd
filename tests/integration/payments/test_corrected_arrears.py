"""Arrears that are put right: partial credits of disputes, plans that hold again, late fees that are paid already."""

from datetime import date
from decimal import Decimal

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.notes import Part
from cloud.billing.service import BillRow, Dispute, Monthly, Plan, Policy
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from tests.integration.billing.site import noon
from tests.integration.payments.owing import FEE, RULE, Owing, make_owing
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


async def _upheld(owing: Owing, bill: BillRow, amount: Decimal | None) -> Dispute:
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(conn, bill.id, "no", by=None, by_resident=True, today=FIRST_OF_MARCH)
        return await billing.uphold_dispute(conn, opened.id, "misread", amount, by=None, today=FIRST_OF_MARCH)


async def _credit(owing: Owing, bill: BillRow, amount: str | Decimal, on: date) -> None:
    async with owing.db.transaction(SYSTEM) as conn:
        parts = [Part(1, Decimal(amount))]
        draft = await billing.note_of_bill(conn, bill.id, "credit_note", parts, "misread", by=1)
        await billing.approve_note(conn, draft.id, by=2, now=noon(on))


async def _again(owing: Owing, dispute: Dispute) -> Dispute:
    async with owing.db.transaction(SYSTEM) as conn:
        return await billing.get_dispute(conn, dispute.id)


async def test_a_bill_in_dispute_asks_for_nothing(owing: Owing) -> None:
    first, *_ = await owing.bills()
    assert (first.payable, first.owing) == (FEE, True)
    async with owing.db.transaction(SYSTEM) as conn:
        opened = await billing.open_dispute(conn, first.id, "no", by=None, by_resident=True, today=FIRST_OF_MARCH)
    await owing.night(FIRST_OF_MARCH)
    first, *_ = await owing.bills()
    assert first.late_fee_open > 0
    assert (first.payable, first.owing) == (Decimal(0), False)
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.uphold_dispute(conn, opened.id, "yes", Decimal(10), by=None, today=FIRST_OF_MARCH)
    first, *_ = await owing.bills()
    assert (first.payable, first.owing) == (FEE - 10, True)


async def test_a_paid_bill_still_asks_for_its_late_fee(owing: Owing) -> None:
    await owing.night(date(2026, 2, 26))
    await owing.pay(2 * FEE, date(2026, 2, 26))
    first, *_ = await owing.bills()
    assert (first.state, first.payable, first.owing) == ("paid", Decimal("2.10"), True)


async def test_a_dispute_waits_until_notes_have_taken_all_of_it_off(owing: Owing) -> None:
    first, *_ = await owing.bills()
    dispute = await _upheld(owing, first, Decimal("110.33"))
    await _credit(owing, first, "10.33", date(2026, 3, 5))
    dispute = await _again(owing, dispute)
    assert (dispute.credited_on, dispute.credited, dispute.uncredited) == (None, Decimal("10.33"), Decimal(100))
    first, *_ = await owing.bills()
    assert (first.state, first.open, first.disputed, first.undisputed) == (
        "disputed",
        Decimal(200),
        Decimal(100),
        Decimal(100),
    )
    await owing.night(date(2026, 3, 10))
    # What bears a fee is the same before and after the note.
    assert {step["principal"] for step in (await owing.fee()).steps} == {"100.00"}
    await _credit(owing, first, "100.00", date(2026, 3, 12))
    assert (await _again(owing, dispute)).credited_on == date(2026, 3, 12)
    await owing.night(date(2026, 3, 20))
    first, *_ = await owing.bills()
    assert (first.state, first.open, first.disputed) == ("issued", Decimal(100), Decimal(0))
    assert {step["principal"] for step in (await owing.fee()).steps} == {"100.00"}
    assert sum(step["days"] for step in (await owing.fee()).steps) == 31
    assert await owing.site.proof() == []


async def test_one_note_closes_the_disputes_that_it_covers_and_no_other(owing: Owing) -> None:
    first, *_ = await owing.bills()
    older = await _upheld(owing, first, Decimal(40))
    newer = await _upheld(owing, first, Decimal(60))
    await _credit(owing, first, "70.00", date(2026, 3, 5))
    assert (await _again(owing, older)).credited_on == date(2026, 3, 5)
    assert (await _again(owing, newer)).uncredited == 30
    (bill, *_) = await owing.bills()
    assert (bill.state, bill.disputed, bill.open) == ("disputed", Decimal(30), FEE - 70)


async def test_a_paid_bill_that_was_too_high_gives_its_money_back(owing: Owing) -> None:
    await owing.pay(2 * FEE, date(2026, 2, 10))
    first, *_ = await owing.bills()
    dispute = await _upheld(owing, first, Decimal("110.33"))
    await _credit(owing, first, "50.00", date(2026, 3, 5))
    assert (await _again(owing, dispute)).uncredited == Decimal("60.33")
    await _credit(owing, first, "60.33", date(2026, 3, 6))
    assert (await _again(owing, dispute)).credited_on == date(2026, 3, 6)
    assert await owing.held() == Decimal("110.33")
    assert await owing.site.proof() == []


async def _broken(owing: Owing) -> Plan:
    """Three parts from 10 March on; the first is missed, and the plan broken on the 16th."""
    first, *_ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await billing.ask_plan(
            conn, owing.account_id, [first.id], Monthly(date(2026, 3, 10), 3), "ill", by=None, today=FIRST_OF_MARCH
        )
        plan = await billing.approve_plan(conn, asked.id, ALONE, by=None, today=FIRST_OF_MARCH)
    await owing.night(date(2026, 3, 20))
    async with owing.db.transaction(SYSTEM) as conn:
        plan = await billing.get_plan(conn, plan.id)
    assert plan.state == "broken"
    return plan


async def _reinstate(owing: Owing, plan: Plan, today: date, note: str = "the bank was late") -> Plan:
    async with owing.db.transaction(SYSTEM) as conn:
        return await billing.reinstate_plan(conn, plan.id, ALONE, note, by=None, today=today)


async def test_a_plan_holds_again_once_what_was_missed_is_paid(owing: Owing) -> None:
    plan = await _broken(owing)
    assert (await owing.fee()).amount > 0
    with pytest.raises(Conflict, match=r"70\.11 are not paid"):
        await _reinstate(owing, plan, date(2026, 3, 21))
    await owing.pay("70.11", date(2026, 3, 21))
    async with owing.db.transaction(SYSTEM) as conn:
        assert (await billing.get_plan(conn, plan.id)).state == "broken"
    with pytest.raises(InvalidInput):
        await _reinstate(owing, plan, date(2026, 3, 21), " ")
    plan = await _reinstate(owing, plan, date(2026, 3, 21))
    assert (plan.state, plan.ended_on, plan.reinstated_on) == ("active", None, date(2026, 3, 21))
    assert [(step["first"], step["days"]) for step in (await owing.fee()).steps] == [("2026-02-17", 12)]
    await owing.night(date(2026, 4, 15))
    assert (await owing.bills())[0].in_plan
    # The second instalment is due on 10 April, and missed in its turn.
    await owing.night(date(2026, 4, 16))
    async with owing.db.transaction(SYSTEM) as conn:
        plan = await billing.get_plan(conn, plan.id)
    assert (plan.state, plan.ended_on) == ("broken", date(2026, 4, 16))


async def test_plans_that_do_not_hold_again(owing: Owing) -> None:
    plan = await _broken(owing)
    async with owing.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="somebody else"):
            await billing.reinstate_plan(conn, plan.id, Policy(), "x", by=None, today=date(2026, 3, 21))
    first, second = await owing.bills()
    await owing.pay(FEE, date(2026, 3, 21))
    with pytest.raises(Conflict, match="are paid"):
        await _reinstate(owing, plan, date(2026, 3, 21))
    async with owing.db.transaction(SYSTEM) as conn:
        await billing.ask_plan(
            conn, owing.account_id, [second.id], Monthly(date(2026, 4, 1), 2), "ill", by=None, today=date(2026, 3, 21)
        )
    assert first.id != second.id


async def test_a_late_fee_that_is_paid_is_given_back(owing: Owing) -> None:
    await owing.night(date(2026, 2, 26))
    await owing.pay(2 * FEE + 1, date(2026, 2, 26))
    first, *_ = await owing.bills()
    assert (first.late_fee_paid, first.late_fee_open) == (Decimal("1.00"), Decimal("1.10"))
    async with owing.db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput):
            await billing.ask_waiver(conn, first.id, Decimal("2.11"), "flood", by=None)
        asked = await billing.ask_waiver(conn, first.id, Decimal("1.50"), "flood", by=None)
        assert asked.returned == Decimal("0.40")
        await billing.approve_waiver(conn, asked.id, ALONE, by=None)
    first, *_ = await owing.bills()
    assert (first.late_fee, first.late_fee_paid, first.late_fee_open) == (Decimal("0.60"), Decimal("0.60"), Decimal(0))
    assert (await owing.held(), first.owing) == (Decimal("0.40"), False)
    await owing.night(date(2026, 3, 20))
    async with owing.db.transaction(SYSTEM) as conn:
        rest = await billing.ask_waiver(conn, first.id, Decimal("0.60"), "all of it", by=None)
        assert rest.returned == Decimal("0.60")
        await billing.approve_waiver(conn, rest.id, ALONE, by=None)
        with pytest.raises(InvalidInput):
            await billing.ask_waiver(conn, first.id, Decimal("0.01"), "more", by=None)
    assert await owing.held() == Decimal("1.00")
    assert await owing.site.proof() == []


async def test_a_fee_that_is_derived_again_stays_given_back(owing: Owing) -> None:
    """A fee of an unpaid bill that was paid in part: later nights add the days since, and nothing that was returned."""
    await owing.night(date(2026, 2, 26))
    first, *_ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        await conn.execute(
            """WITH made AS (INSERT INTO payment (project_id, account_id, amount, currency, method, paid_on, purpose)
                             VALUES (%(project)s, %(account)s, 2, 'CNY', 'cash', '2026-02-26', 'bill')
                             RETURNING id, project_id)
               INSERT INTO payment_allocation (project_id, payment_id, bill_id, paid_on, principal, late_fee)
               SELECT project_id, id, %(bill)s, '2026-02-26', 0, 2 FROM made""",
            {"project": owing.site.project.id, "account": owing.account_id, "bill": first.id},
        )
        asked = await billing.ask_waiver(conn, first.id, Decimal("2.10"), "flood", by=None)
        await billing.approve_waiver(conn, asked.id, ALONE, by=None)
    await owing.night(date(2026, 2, 27))
    first, *_ = await owing.bills()
    # Eleven days came to 2.31, of which 2.10 are waived.
    assert (first.late_fee, first.late_fee_paid) == (Decimal("0.21"), Decimal(0))
    assert await owing.held() == 2


async def test_a_waiver_of_what_was_paid_meanwhile_is_asked_for_again(owing: Owing) -> None:
    await owing.night(date(2026, 2, 26))
    first, *_ = await owing.bills()
    async with owing.db.transaction(SYSTEM) as conn:
        asked = await billing.ask_waiver(conn, first.id, Decimal("2.10"), "flood", by=None)
    await owing.pay(2 * FEE + Decimal("2.10"), date(2026, 2, 26))
    async with owing.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict) as refused:
            await billing.approve_waiver(conn, asked.id, ALONE, by=None)
        assert refused.value.code == "amount-changed"
    assert await owing.site.proof() == []
