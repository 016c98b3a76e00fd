"""What covers stays that are over is agreed on afterwards: money comes back, and nobody owes more than he was told."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.jobs import JobContext
from cloud.kit.security import Keys, Sealer
from cloud.parking import jobs
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.permits import service as permits
from cloud.parking.permits.records import Holding, NewPermit
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
from tests.integration.parking.nested import set_policy
from tests.integration.parking.permits.holder import make_permit
from tests.integration.parking.site import NOON, Site, rows

PLATE, OTHER = "京A12345", "粤B67890"
HOUR = timedelta(hours=1)
NOW = NOON + 8 * HOUR
SINCE = NOON + 3 * HOUR
"""Three of five hours are not covered: 6.00 of 8.00."""

Cover = Callable[[Conn, Site], Awaitable[object]]


async def _permit(conn: Conn, site: Site) -> None:
    new = NewPermit("staff", (site.lot_id,), SINCE, None, Holding((PLATE,), note="guard"))
    await permits.create_permit(conn, site.project_id, new, at=NOW)


async def _plate(conn: Conn, site: Site) -> None:
    new = NewPermit("staff", (site.lot_id,), NOON - HOUR, None, Holding((OTHER,), note="guard"))
    made = await permits.create_permit(conn, site.project_id, new, at=NOON - HOUR)
    await permits.add_plate(conn, made.id, PLATE, SINCE, NOW)


async def _pass(conn: Conn, site: Site) -> None:
    await visitors.give_pass(conn, site.project_id, WantedPass(PLATE, SINCE, NOW + HOUR), now=NOW)


async def _white(conn: Conn, site: Site) -> None:
    await lists.add(conn, NewEntry(site.project_id, "white", PLATE, "doctor", None, SINCE, None), "user:1", NOW)


WAYS = pytest.mark.parametrize("cover", [_permit, _plate, _pass, _white])


async def visit(db: Database, site: Site, plate: str = PLATE) -> None:
    left = NOON + 5 * HOUR
    await site.report(db, [site.passage("entry", plate, NOON), site.passage("exit", plate, left)], left)


async def money(db: Database, plate: str = PLATE) -> tuple[Decimal, Decimal]:
    """(fee, unpaid) of the plate's stay."""
    (row,) = await rows(db, "SELECT fee, unpaid FROM parking_session WHERE plate = %s", (plate,))
    return row["fee"], row["unpaid"]


async def pay(db: Database, plate: str = PLATE) -> None:
    (row,) = await rows(db, "SELECT id, unpaid FROM parking_session WHERE plate = %s", (plate,))
    async with db.transaction(SYSTEM) as conn:
        await parking.pay(conn, row["id"], row["unpaid"], "cash", "user:1", at=NOON + 6 * HOUR)


async def quoted(db: Database, plate: str = PLATE) -> tuple[Decimal, Decimal]:
    """(due, surplus) as the desk is told."""
    (row,) = await rows(db, "SELECT id FROM parking_session WHERE plate = %s", (plate,))
    async with db.transaction(SYSTEM) as conn:
        quote = await parking.quote(conn, row["id"], NOW)
    return quote.due, quote.surplus


@WAYS
async def test_what_is_owed_becomes_less(ingest_db: Database, worker_db: Database, site: Site, cover: Cover) -> None:
    await visit(ingest_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        await cover(conn, site)
    assert await money(worker_db) == (Decimal("6.00"), Decimal("6.00"))


@WAYS
async def test_what_was_paid_too_much_comes_back(
    ingest_db: Database, worker_db: Database, site: Site, cover: Cover
) -> None:
    await visit(ingest_db, site)
    await pay(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await cover(conn, site)
    assert await money(worker_db) == (Decimal("6.00"), Decimal("-2.00"))
    assert await quoted(worker_db) == (Decimal(0), Decimal("2.00"))
    async with worker_db.transaction(SYSTEM) as conn:
        assert await debts.release_surplus(conn, site.project_id, NOW + timedelta(days=2)) == 1
        assert await billing.discrepancies(conn, site.project_id) == []
    (refund,) = await rows(worker_db, "SELECT amount, reason FROM payment_refund")
    assert (refund["amount"], refund["reason"]) == (Decimal("2.00"), "fee-lower")


@WAYS
@pytest.mark.parametrize("paid", [False, True])
async def test_a_fixed_charge_falls_when_the_lane_would_have_let_it_out(
    ingest_db: Database, worker_db: Database, site: Site, cover: Cover, paid: bool
) -> None:
    """Nobody saw it come in: it costs what the lot's policy says, unless something covers it when it leaves."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    left = NOON + 5 * HOUR
    await site.report(ingest_db, [site.passage("exit", PLATE, left)], left)
    assert await money(worker_db) == (Decimal("20.00"), Decimal("20.00"))
    if paid:
        await pay(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await cover(conn, site)
    assert await money(worker_db) == (Decimal(0), Decimal("-20.00") if paid else Decimal(0))


@pytest.mark.parametrize(("vehicle_class", "fee"), [("small", "20.00"), ("new-energy", "0.00")])
async def test_a_permit_of_another_class_covers_no_fixed_charge(
    ingest_db: Database, worker_db: Database, site: Site, vehicle_class: str, fee: str
) -> None:
    """The lane does not let it out by that permit, and the desk asks for what is stored once it has left."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    new = NewPermit("staff", (site.lot_id,), SINCE, None, Holding((PLATE,), note="guard"), vehicle_class="new-energy")
    async with worker_db.transaction(SYSTEM) as conn:
        await permits.create_permit(conn, site.project_id, new, at=SINCE)
    stands = msgspec.structs.replace(site.passage("exit", PLATE, NOW, "arrived"), vehicle_class=vehicle_class)
    await site.report(ingest_db, [stands], NOW)
    assert await quoted(worker_db) == (Decimal(fee), Decimal(0))
    left = site.passage("exit", PLATE, NOW + HOUR / 60)
    await site.report(ingest_db, [msgspec.structs.replace(left, vehicle_class=vehicle_class)], NOW + HOUR / 60)
    assert await money(worker_db) == (Decimal(fee), Decimal(fee))


async def test_what_a_driver_was_told_holds_also_when_another_of_his_permit_leaves_later(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (PLATE, OTHER), spaces=1)
    await visit(ingest_db, site)
    await site.report(ingest_db, [site.passage("entry", OTHER, NOON + HOUR)], NOON + HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        # He moved out yesterday, says the office once he has left for nothing.
        await permits.remove_plate(conn, permit.id, PLATE, NOON - HOUR, NOW)
    assert await money(worker_db) == (Decimal(0), Decimal(0))
    await site.report(ingest_db, [site.passage("exit", OTHER, NOW + HOUR)], NOW + HOUR)
    assert await money(worker_db, OTHER) == (Decimal(0), Decimal(0)), "the space was his"
    assert await money(worker_db) == (Decimal(0), Decimal(0))


async def test_a_plate_taken_off_a_permit_frees_its_space_for_another_that_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (PLATE, OTHER), spaces=1)
    await visit(ingest_db, site)
    left = NOON + 5 * HOUR
    began = [site.passage("entry", OTHER, NOON + HOUR / 60), site.passage("exit", OTHER, left)]
    await site.report(ingest_db, began, left)
    assert (await money(worker_db), await money(worker_db, OTHER)) == (
        (Decimal(0), Decimal(0)),
        (Decimal(8), Decimal(8)),
    )
    await pay(worker_db, OTHER)
    async with worker_db.transaction(SYSTEM) as conn:
        # He moved out before the permit's beginning: it never was his.
        await permits.remove_plate(conn, permit.id, PLATE, NOON - timedelta(days=2), NOW)
    assert await money(worker_db, OTHER) == (Decimal(0), Decimal("-8.00"))
    # Who left for nothing was told so; nobody may ask him for more, neither the ledger of debts nor the desk.
    assert await money(worker_db) == (Decimal(0), Decimal(0))
    assert await quoted(worker_db) == (Decimal(0), Decimal(0))


async def test_what_is_owed_is_priced_anew_when_the_plate_is_taken_off(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (PLATE,), since=SINCE)
    await visit(ingest_db, site)
    assert await money(worker_db) == (Decimal("6.00"), Decimal("6.00"))
    async with worker_db.transaction(SYSTEM) as conn:
        await permits.remove_plate(conn, permit.id, PLATE, NOON, NOW)
    assert await money(worker_db) == (Decimal("8.00"), Decimal("8.00"))


async def test_who_comes_onto_a_shared_space_afterwards_makes_nobody_pay_more(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (PLATE,), spaces=1)
    await visit(ingest_db, site, OTHER)
    left = NOON + 5 * HOUR
    began = [site.passage("entry", PLATE, NOON + HOUR), site.passage("exit", PLATE, left)]
    await site.report(ingest_db, began, left)
    async with worker_db.transaction(SYSTEM) as conn:
        await permits.add_plate(conn, permit.id, OTHER, NOON - HOUR, NOW)
    assert await money(worker_db, OTHER) == (Decimal(0), Decimal(0))
    assert await money(worker_db) == (Decimal(0), Decimal(0)), "he had the space and left for nothing"


async def test_waived_money_was_never_paid_and_does_not_come_back(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await visit(ingest_db, site)
    (row,) = await rows(worker_db, "SELECT id FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        await debts.waive(conn, row["id"], Decimal("5.00"), "kindness", "user:1")
    await pay(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await _pass(conn, site)
    assert await money(worker_db) == (Decimal("6.00"), Decimal(0))
    async with worker_db.transaction(SYSTEM) as conn:
        await make_permit_of(conn, site)
    assert await money(worker_db) == (Decimal(0), Decimal("-3.00"))


async def make_permit_of(conn: Conn, site: Site) -> None:
    new = NewPermit("staff", (site.lot_id,), NOON - HOUR, None, Holding((PLATE,), note="guard"))
    await permits.create_permit(conn, site.project_id, new, at=NOW)


async def test_a_pass_that_a_resident_gives_afterwards_counts_the_same(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site
) -> None:
    """He sees nothing of the stay of his visitor: the worker prices it."""
    await visit(ingest_db, site)
    await pay(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang")
        (user,) = await (
            await conn.execute(
                "INSERT INTO app_user (login, display_name, password_hash) VALUES ('wang', 'Wang', 'x') RETURNING id"
            )
        ).fetchall()
    resident = Asker("resident", (site.project_id,), (person.id,), user_id=user["id"])
    async with web_db.transaction(resident) as conn:
        wanted = WantedPass(PLATE, SINCE, NOW + HOUR)
        await visitors.give_pass(conn, site.project_id, wanted, person_id=person.id, by=user["id"], now=NOW)
    await _run_jobs(worker_db)
    assert await money(worker_db) == (Decimal("6.00"), Decimal("-2.00"))


async def test_a_resident_can_order_no_other_work(web_db: Database, site: Site) -> None:
    resident = replace(site.staff, kind="resident", persons=(4711,))
    for kind in ("parking.release-surplus", "billing.run"):
        with pytest.raises(Exception, match="row-level security"):
            async with web_db.transaction(resident) as conn:
                await conn.execute(
                    "INSERT INTO job (kind, payload, project_id, created_by) VALUES (%s, '{}', %s, 1)",
                    (kind, site.project_id),
                )


async def _run_jobs(db: Database) -> None:
    """What waits, once."""
    found: list[dict[str, Any]] = await rows(db, "SELECT id, kind, project_id, payload FROM job ORDER BY id")
    assert found, "nobody was asked to price it"
    for job in found:
        await jobs.HANDLERS[job["kind"]](JobContext(job["id"], job["project_id"], job["payload"], db))
