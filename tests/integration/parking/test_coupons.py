"""Coupons of merchants: issued, handed in once before the vehicle leaves, a line of the fee, and what is owed."""

import asyncio
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import psycopg
import pytest

from cloud.billing.ledger import proof
from cloud.kit.db import Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.parking import service
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import Batch, NewBatch, Redeemed
from cloud.parking.coupons.redeeming import redeem
from tests.integration.parking.site import NOON, Site, openings, rows, stays

PLATE = "京A12345"
LATER = NOON + timedelta(hours=5)
"""The stay costs 8.00 then."""
DAY = date(2026, 5, 1)
HOURS = NewBatch(0, "hours", Decimal(2), Decimal(3), 5, DAY, DAY + timedelta(days=1))


async def _merchant(db: Database, site: Site, settlement: str = "monthly") -> int:
    async with db.transaction(site.staff) as conn:
        made = await coupons.create_merchant(conn, site.project_id, f"Noodles {settlement}", settlement)  # type: ignore[arg-type]
        return made.id


async def _issue(db: Database, site: Site, new: NewBatch, merchant_id: int = 0) -> tuple[Batch, list[str]]:
    merchant_id = merchant_id or await _merchant(db, site)
    async with db.transaction(site.staff) as conn:
        batch = await coupons.issue(conn, replace(new, merchant_id=merchant_id), "user:1", NOON)
        page = await coupons.list_coupons(conn, PageRequest(100), batch.id)
    return batch, [one.code for one in page.items]


async def _enter(db: Database, site: Site, plate: str = PLATE) -> int:
    await site.report(db, [site.passage("entry", plate, NOON)], NOON)
    (session,) = await rows(db, "SELECT id FROM parking_session WHERE plate = %s AND state = 'open'", (plate,))
    return int(session["id"])


async def _redeem(db: Database, site: Site, code: str, plate: str = PLATE) -> Redeemed:
    async with db.transaction(site.staff) as conn:
        return await redeem(conn, site.project_id, plate, code, "user:guard", LATER)


async def test_a_coupon_is_a_line_of_the_fee_and_what_is_left_is_paid(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    session_id = await _enter(ingest_db, site)
    batch, codes = await _issue(web_db, site, HOURS)
    assert (len(set(codes)), {len(code) for code in codes}) == (5, {10})
    redeemed = await _redeem(web_db, site, f"{codes[0][:5]}-{codes[0][5:].lower()}", "京A·12345")
    assert (redeemed.session_id, redeemed.command_id) == (session_id, None)
    async with web_db.transaction(site.staff) as conn:
        quote = await service.quote(conn, session_id, LATER)
        assert [(step.kind, step.amount, step.label) for step in quote.steps[-1:]] == [
            ("coupon-hours", Decimal("-2.00"), codes[0])
        ]
        assert quote.due == Decimal("6.00")
        await service.pay(conn, session_id, Decimal("6.00"), "cash", "user:guard", at=LATER)
    await site.report(ingest_db, [site.passage("exit", PLATE, LATER)], LATER)
    assert [stay[4] for stay in await stays(ingest_db)] == [Decimal("6.00")]
    async with web_db.transaction(site.staff) as conn:
        statement = await coupons.statement(conn, batch.merchant_id, DAY)
    (use,) = statement.uses
    assert (use.issued, use.used, use.owed, use.taken_off) == (5, 1, Decimal(3), Decimal(2))
    assert (statement.before, statement.owed, statement.after) == (Decimal(0), Decimal(3), Decimal(3))


async def test_a_vehicle_that_owes_nothing_any_more_is_let_out(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    await _enter(ingest_db, site)
    await site.report(ingest_db, [site.passage("exit", PLATE, LATER, "arrived")], LATER)
    assert await openings(ingest_db) == []
    _, codes = await _issue(web_db, site, replace(HOURS, kind="free", value=Decimal(0)))
    assert (await _redeem(web_db, site, codes[0])).command_id is not None
    assert len(await openings(ingest_db)) == 1


async def test_a_coupon_is_handed_in_once_though_two_try_at_once(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    await _enter(ingest_db, site)
    await _enter(ingest_db, site, "粤B1")
    _, codes = await _issue(web_db, site, HOURS)
    both = await asyncio.gather(
        _redeem(web_db, site, codes[0]), _redeem(web_db, site, codes[0], "粤B1"), return_exceptions=True
    )
    (refused,) = [one for one in both if isinstance(one, BaseException)]
    assert isinstance(refused, Conflict)
    assert refused.code == "coupon-used"
    assert len(await rows(ingest_db, "SELECT id FROM coupon_redemption")) == 1
    async with web_db.transaction(site.staff) as conn:
        with pytest.raises(psycopg.errors.RestrictViolation):
            await conn.execute("UPDATE coupon_redemption SET value = 9")


async def _refused(db: Database, site: Site, code: str, plate: str = PLATE) -> str:
    with pytest.raises((Conflict, NotFound, InvalidInput)) as refused:
        await _redeem(db, site, code, plate)
    return refused.value.code


async def test_what_a_coupon_is_refused_for(ingest_db: Database, web_db: Database, site: Site) -> None:
    await _enter(ingest_db, site)
    merchant_id = await _merchant(web_db, site)
    tomorrow = replace(HOURS, valid_from=DAY + timedelta(days=1), valid_until=DAY + timedelta(days=2))
    _, future = await _issue(web_db, site, tomorrow, merchant_id)
    _, one_a_day = await _issue(web_db, site, replace(HOURS, per_plate_and_day=1), merchant_id)
    _, alone = await _issue(web_db, site, replace(HOURS, stackable=False), merchant_id)
    withdrawn, gone = await _issue(web_db, site, HOURS, merchant_id)
    async with web_db.transaction(site.staff) as conn:
        await coupons.withdraw(conn, withdrawn.id)
    assert await _refused(web_db, site, "NOSUCHCODE") == "no-coupon"
    assert await _refused(web_db, site, future[0]) == "coupon-not-valid"
    assert await _refused(web_db, site, gone[0]) == "coupon-not-valid"
    assert await _refused(web_db, site, alone[0], "粤B1") == "not-inside"
    assert await _refused(web_db, site, alone[0], "<b>") == "bad-plate"
    await _redeem(web_db, site, one_a_day[0])
    assert await _refused(web_db, site, one_a_day[1]) == "coupon-limit"
    assert await _refused(web_db, site, alone[0]) == "coupon-alone"
    await site.report(ingest_db, [site.passage("exit", PLATE, LATER)], LATER)
    assert await _refused(web_db, site, one_a_day[1]) == "not-inside"


async def test_coupons_are_applied_in_one_order_whatever_the_order_in_which_they_came(
    ingest_db: Database, web_db: Database, site: Site
) -> None:
    merchant_id = await _merchant(web_db, site)
    kinds = (("money", "1"), ("percentage", "50"), ("hours", "1"))
    codes = [
        (await _issue(web_db, site, replace(HOURS, kind=kind, value=Decimal(value)), merchant_id))[1]  # type: ignore[arg-type]
        for kind, value in kinds
    ]
    found: set[tuple[Decimal, ...]] = set()
    for plate, order in ((PLATE, (0, 1, 2)), ("粤B1", (2, 1, 0))):
        session_id = await _enter(ingest_db, site, plate)
        for number in order:
            await _redeem(web_db, site, codes[number][0 if plate == PLATE else 1], plate)
        async with web_db.transaction(site.staff) as conn:
            quote = await service.quote(conn, session_id, LATER)
        found.add(tuple(step.amount for step in quote.steps if step.kind.startswith("coupon")))
    # 8.00, an hour less 7.00, half of that 3.50, one yuan off 2.50.
    assert found == {(Decimal("-1.00"), Decimal("-3.50"), Decimal("-1.00"))}


async def test_a_merchant_who_pays_ahead_gets_what_he_paid_for(web_db: Database, site: Site) -> None:
    merchant_id = await _merchant(web_db, site, "balance")
    with pytest.raises(Conflict) as refused:
        await _issue(web_db, site, HOURS, merchant_id)
    assert (refused.value.code, refused.value.params["due"]) == ("balance-too-low", Decimal(15))
    async with web_db.transaction(site.staff) as conn:
        paid = await coupons.take_payment(conn, merchant_id, Decimal(20), "transfer", DAY)
        assert paid.open == Decimal(-20)
    await _issue(web_db, site, HOURS, merchant_id)
    with pytest.raises(Conflict, match="paid ahead"):
        await _issue(web_db, site, HOURS, merchant_id)
    async with web_db.transaction(site.staff) as conn:
        statement = await coupons.statement(conn, merchant_id, DAY)
        assert (statement.owed, statement.paid, statement.after) == (Decimal(15), Decimal(20), Decimal(-5))
        assert (await coupons.get_merchant(conn, merchant_id)).open == Decimal(-5)
        assert await proof.discrepancies(conn, site.project_id) == []


@pytest.mark.parametrize(
    "change",
    [
        {"value": Decimal(0)},
        {"kind": "percentage", "value": Decimal(101)},
        {"kind": "money", "value": Decimal("0.001")},
        {"kind": "free", "value": Decimal(1)},
        {"count": 0},
        {"count": 10_001},
        {"valid_until": DAY},
        {"price": Decimal(-1)},
        {"price": Decimal("NaN")},
        {"per_plate_and_day": 0},
    ],
)
async def test_impossible_coupons_are_not_issued(web_db: Database, site: Site, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        await _issue(web_db, site, replace(HOURS, **change))  # type: ignore[arg-type]
