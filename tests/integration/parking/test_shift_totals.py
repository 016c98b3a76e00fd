"""What a shift says at its end is what the ledger, the passages and the openings say of its hours."""

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.parking import service as parking
from cloud.parking.shifts import service as shifts
from cloud.payments import refunds
from tests.integration.app import People
from tests.integration.parking.site import Site, minutes, rows

METHODS = ("cash", "wechat", "alipay")
_BOOKED = """
    SELECT substr(o.ledger_account, 6) AS method, j.source, sum(o.amount) AS amount, count(DISTINCT j.source_id) AS n
    FROM journal j JOIN posting o ON o.journal_id = j.id
    WHERE o.ledger_account LIKE 'cash:%%' AND (
        (j.source = 'payment' AND j.source_id IN (SELECT id FROM payment WHERE created_by = %(user)s))
        OR (j.source = 'payment_refund' AND j.source_id IN (SELECT id FROM payment_refund WHERE decided_by = %(user)s)))
    GROUP BY 1, 2
"""


async def test_takings_of_a_shift_are_what_the_ledger_booked_of_its_guard(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site, people: People
) -> None:
    """Two guards take money and give some back in turns; each till has what the ledger says."""
    random, now = Random(4), datetime.now(UTC)
    guards: dict[int, int] = {}
    for nth in range(2):
        await people.staff("cashier", site.project_id)
        (row,) = await rows(worker_db, "SELECT max(id) AS id FROM app_user")
        async with worker_db.transaction(SYSTEM) as conn:
            shift = await shifts.begin(conn, site.project_id, f"Gate {nth}", row["id"], f"guard {nth}")
        guards[row["id"]] = shift.id
    for nth in range(24):
        plate, who = f"京A{nth:05}", random.choice(list(guards))
        await site.report(ingest_db, [site.passage("entry", plate, now - minutes(298))], now)
        (stay,) = await rows(worker_db, "SELECT id FROM parking_session WHERE plate = %s", (plate,))
        async with worker_db.transaction(SYSTEM) as conn:
            due = (await parking.quote(conn, stay["id"], now)).due
            await parking.pay(conn, stay["id"], due, random.choice(METHODS), "user:x", created_by=who, at=now)
            if random.random() < 0.4:
                found = await (await conn.execute("SELECT max(id) AS id FROM payment")).fetchone()
                assert found is not None
                back = Decimal(random.randrange(1, 800)) / 100
                refund = await refunds.owe_back(conn, found["id"], back, "fee-lower", plate)
                by, method = random.choice(list(guards)), random.choice(METHODS)
                await refunds.decide(conn, refund, "refund", "paid too much", method=method, by=by)
    for who, shift_id in guards.items():
        booked = await rows(worker_db, _BOOKED, {"user": who})  # type: ignore[arg-type]
        taken = {one["method"]: (one["n"], one["amount"]) for one in booked if one["source"] == "payment"}
        returned = {one["method"]: -one["amount"] for one in booked if one["source"] == "payment_refund"}
        assert len(taken) > 1
        assert returned
        async with worker_db.transaction(SYSTEM) as conn:
            found_ = (await shifts.detail(conn, shift_id)).takings
        assert {one.method: (one.payments, one.taken) for one in found_ if one.payments} == taken
        assert {one.method: one.returned for one in found_ if one.returned} == returned


async def test_totals_of_a_shift_are_what_happened_between_its_beginning_and_its_end(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site, people: People
) -> None:
    """Of passages before, in and after it, that passed or not; odd ones; openings of this guard and another."""
    random, now = Random(8), datetime.now(UTC)
    began, ends = now - minutes(300), now - minutes(60)
    for _ in range(2):
        await people.staff("guard", site.project_id)
    li, wang = [row["id"] for row in await rows(worker_db, "SELECT id FROM app_user ORDER BY id")]
    async with worker_db.transaction(SYSTEM) as conn:
        shift = await shifts.begin(conn, site.project_id, "South", li, "li")
        await conn.execute("UPDATE parking_shift SET began_at = %s WHERE id = %s", (began, shift.id))
    seen = []
    for nth in range(40):
        at = now - minutes(random.randrange(20, 400))
        seen.append(site.passage(random.choice(("entry", "exit")), f"京A{nth:05}", at,
                                 random.choice(("passed", "passed", "turned-back", "refused", "arrived"))))  # fmt: skip
    seen.append(site.passage("exit", "京B00000", now - minutes(19), "arrived"))
    await site.report(ingest_db, seen, now)
    inside = [one for one in seen if began <= datetime.fromtimestamp(one.taken_at / 1000, UTC) < ends]
    passed = Counter(one.direction for one in inside if one.outcome == "passed")
    odd = await rows(
        worker_db,
        "SELECT count(*) AS n FROM passage WHERE incident = 'exit-without-entry' AND taken_at >= %s AND taken_at < %s",
        (began, ends),
    )
    guard = Asker("staff", (site.project_id,), user_id=li)
    other = Asker("staff", (site.project_id,), user_id=wang)
    for asker, code in ((guard, "emergency"), (guard, "emergency"), (guard, "delivery"), (other, "emergency")):
        async with web_db.transaction(asker) as conn:
            await parking.open_lane(conn, site.exit.id, "", "user:x", code)
    async with worker_db.transaction(SYSTEM) as conn:
        done = await shifts.hand_over(
            conn, shift.id, {"cash": Decimal(0)}, "", user_id=li, actor="user:li", may_end_others=False, at=ends
        )
    kept = done.totals
    assert passed["entry"]
    assert passed["exit"]
    assert odd[0]["n"] > 0
    assert (kept.entries, kept.exits, kept.incidents) == (passed["entry"], passed["exit"], odd[0]["n"])
    assert kept.openings == {"emergency": 2, "delivery": 1}
    latest = max((one for one in seen if one.device == "exit"), key=lambda one: one.taken_at)
    (row,) = await rows(worker_db, "SELECT DISTINCT passage_id FROM manual_opening")
    assert str(row["passage_id"]) == latest.id, "it stood there nineteen minutes ago, and may still"
