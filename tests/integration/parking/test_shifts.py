"""Shifts: begun, counted, handed over, confirmed by another person, and never changed afterwards."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser
from tests.integration.parking.site import Site, minutes, rows

PLATE = "京A12345"


@pytest.fixture
async def guard(people: People, site: Site) -> Auth:
    return await people.staff("guard", site.project_id)


@pytest.fixture
async def next_guard(people: People, site: Site) -> Auth:
    return await people.staff("guard", site.project_id)


async def post(client: httpx.AsyncClient, auth: Auth, path: str, status: int = 201, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/api/v1/{path}", json=body, headers={**auth, **once()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def begin(client: httpx.AsyncClient, auth: Auth, site: Site, desk: str = "South gate") -> int:
    return int((await post(client, auth, "parking-shifts", project_id=site.project_id, desk=desk))["id"])


async def waits(db: Database, site: Site, plate: str) -> int:
    """A vehicle came two hours ago and stands at the exit; its stay."""
    now = datetime.now(UTC)
    entered = site.passage("entry", plate, now - minutes(120))
    await site.report(db, [entered, site.passage("exit", plate, now, "arrived")], now)
    (session,) = await rows(db, "SELECT id FROM parking_session WHERE plate = %s", (plate,))
    return int(session["id"])


async def pay(client: httpx.AsyncClient, auth: Auth, db: Database, site: Site, plate: str, method: str) -> str:
    """A vehicle came two hours ago, stands at the exit and pays; how much."""
    session = await waits(db, site, plate)
    quote = (await client.get(f"/api/v1/parking-sessions/{session}/quote", headers=auth)).json()
    await post(client, auth, "parking-payments", session_id=session, amount=quote["due"], method=method)
    return str(quote["due"]["amount"])


async def test_a_person_and_a_desk_have_one_open_shift(
    app_client: httpx.AsyncClient, site: Site, guard: Auth, next_guard: Auth
) -> None:
    await begin(app_client, guard, site)
    body = {"project_id": site.project_id, "desk": "North gate"}
    assert (await post(app_client, guard, "parking-shifts", 409, **body))["code"] == "shift-open"
    taken = {**body, "desk": "  South   gate "}
    assert (await post(app_client, next_guard, "parking-shifts", 409, **taken))["code"] == "desk-taken"
    await begin(app_client, next_guard, site, "North gate")


async def test_a_handover_says_what_was_taken_what_was_counted_and_what_differs(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, guard: Auth, next_guard: Auth
) -> None:
    before = await pay(app_client, guard, ingest_db, site, "沪C99999", "cash")
    shift = await begin(app_client, guard, site)
    cash = await pay(app_client, guard, ingest_db, site, PLATE, "cash")
    await pay(app_client, guard, ingest_db, site, "粤B00001", "wechat")
    await pay(app_client, next_guard, ingest_db, site, "粤B00002", "cash")
    assert Decimal(before) > 0
    lane = site.exit.id
    await post(app_client, guard, f"parking-lanes/{lane}/openings", code="emergency")
    await post(app_client, guard, f"parking-lanes/{lane}/openings", reason="parade")
    await post(app_client, next_guard, f"parking-lanes/{lane}/openings", code="emergency")

    short = str(Decimal(cash) - 1)
    counted = [{"method": "cash", "amount": short}]
    refused = await post(app_client, guard, f"parking-shifts/{shift}/handovers", 422, counted=counted)
    assert refused["code"] == "no-note"
    not_his = await post(app_client, next_guard, f"parking-shifts/{shift}/handovers", 403, counted=counted, note="x")
    assert not_his["code"] == "not-your-shift"
    done = await post(app_client, guard, f"parking-shifts/{shift}/handovers", counted=counted, note="a coin fell")
    assert done["state"] == "ended"
    assert done["openings"] == {"emergency": 1, "other": 1}
    lines = {one["method"]: one for one in done["takings"]}
    assert (lines["cash"]["payments"], lines["cash"]["taken"]["amount"]) == (1, cash)
    assert (lines["cash"]["counted"]["amount"], lines["cash"]["difference"]["amount"]) == (short, "-1.00")
    assert lines["wechat"]["difference"]["amount"] == "0.00"

    again = await post(app_client, guard, f"parking-shifts/{shift}/handovers", 409, counted=counted, note="x")
    assert again["code"] == "shift-over"
    assert (await post(app_client, guard, f"parking-shifts/{shift}/confirmations", 403))["code"] == "own-shift"
    confirmed = await post(app_client, next_guard, f"parking-shifts/{shift}/confirmations", note="found it")
    assert (confirmed["state"], confirmed["confirmed_note"]) == ("confirmed", "found it")
    audit = await rows(ingest_db, "SELECT count(*) AS n FROM parking_shift_count")
    assert audit[0]["n"] == 2


async def test_what_was_given_back_is_not_in_the_till(
    app_client: httpx.AsyncClient, ingest_db: Database, owner_db: Database, site: Site, people: People
) -> None:
    cashier = await people.staff("cashier", site.project_id)
    shift = await begin(app_client, cashier, site)
    cash = Decimal(await pay(app_client, cashier, ingest_db, site, PLATE, "cash"))
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO payment_refund (project_id, payment_id, amount, currency, reason)
               SELECT project_id, id, 1, currency, 'fee-lower' FROM payment"""
        )
    (refund,) = await rows(ingest_db, "SELECT id FROM payment_refund")
    decided: dict[str, Any] = {"decision": "refund", "method": "cash", "note": "paid too much"}
    await post(app_client, cashier, f"payment-refunds/{refund['id']}/decisions", **decided)
    counted = [{"method": "cash", "amount": str(cash - 1)}]
    done = await post(app_client, cashier, f"parking-shifts/{shift}/handovers", counted=counted)
    (line,) = done["takings"]
    assert (line["taken"]["amount"], line["returned"]["amount"]) == (str(cash), "1.00")
    assert line["difference"]["amount"] == "0.00"


async def test_a_payment_under_way_belongs_to_the_shift_that_waits_for_it(
    app_client: httpx.AsyncClient, ingest_db: Database, owner_db: Database, site: Site, guard: Auth
) -> None:
    shift = await begin(app_client, guard, site)
    session = await waits(ingest_db, site, PLATE)
    (who,) = await rows(ingest_db, "SELECT user_id FROM parking_shift")
    counted = [{"method": "cash", "amount": "0.00"}]
    async with owner_db.transaction(SYSTEM) as conn:
        due = (await parking.quote(conn, session)).total
        await parking.pay(conn, session, due, "cash", "user:guard", created_by=who["user_id"])
        handover = asyncio.create_task(
            post(app_client, guard, f"parking-shifts/{shift}/handovers", counted=counted, note="nothing there")
        )
        await _somebody_waits_for_a_row(ingest_db)
    done = await handover
    (line,) = done["takings"]
    assert Decimal(line["taken"]["amount"]) == due
    async with owner_db.transaction(SYSTEM) as conn:
        late = await waits(ingest_db, site, "粤B00001")
        await parking.pay(conn, late, due, "cash", "user:guard", created_by=who["user_id"])
    assert await rows(ingest_db, "SELECT count(*) AS n FROM parking_shift_payment") == [{"n": 1}]


async def _somebody_waits_for_a_row(db: Database) -> None:
    async with asyncio.timeout(60):
        while not (await rows(db, "SELECT FROM pg_locks WHERE NOT granted")):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE parking_shift SET note = 'nothing was missing'",
        "UPDATE parking_shift SET ended_at = ended_at + interval '1 hour'",
        "DELETE FROM parking_shift",
        "UPDATE parking_shift_count SET counted = taken",
        "DELETE FROM parking_shift_count",
    ],
)
async def test_what_was_handed_over_is_never_changed(
    app_client: httpx.AsyncClient, owner_db: Database, site: Site, guard: Auth, change: str
) -> None:
    shift = await begin(app_client, guard, site)
    counted = [{"method": "cash", "amount": "0.00"}]
    await post(app_client, guard, f"parking-shifts/{shift}/handovers", counted=counted)
    with pytest.raises(psycopg.errors.IntegrityError):
        async with owner_db.transaction(SYSTEM) as conn:
            await conn.execute(change)


async def test_shifts_are_listed_filtered_and_written_to_a_file(
    app_client: httpx.AsyncClient, site: Site, guard: Auth, next_guard: Auth, people: People
) -> None:
    first = await begin(app_client, guard, site)
    counted = [{"method": "cash", "amount": "0.00"}]
    await post(app_client, guard, f"parking-shifts/{first}/handovers", counted=counted)
    second = await begin(app_client, next_guard, site)

    async def ids(**query: str) -> list[int]:
        query["project_id"] = str(site.project_id)
        answer = await app_client.get("/api/v1/parking-shifts", params=query, headers=guard)
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json()["items"]]

    assert await ids() == [second, first]
    assert await ids(state="open") == [second]
    assert await ids(state="ended", desk="South gate") == [first]
    assert await ids(desk="elsewhere") == []
    assert await ids(until="2026-01-01T00:00:00Z") == []
    file = await app_client.get(f"/api/v1/parking-shifts/file?project_id={site.project_id}", headers=guard)
    lines = file.text.strip().splitlines()
    assert lines[0].lstrip("\ufeff").startswith("desk,guard,state,")
    assert [line.split(",")[2] for line in lines[1:]] == ["open", "ended"]
    viewer = await people.staff("viewer", site.project_id)
    assert (await app_client.get("/api/v1/parking-shifts", headers=viewer)).status_code == 403


async def test_a_shift_by_forms(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, guard: Auth, next_guard: Auth
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, guard)
    assert "Begin my shift" in await browser.see("/parking/shifts")
    await browser.send("/parking/shifts", desk="South gate")
    (shift,) = await rows(ingest_db, "SELECT id FROM parking_shift")
    page = f"/parking/shifts/{shift['id']}"
    session = await waits(ingest_db, site, PLATE)
    async with ingest_db.transaction(SYSTEM) as conn:
        due = (await parking.quote(conn, session)).total
    await browser.send(f"/parking/sessions/{session}/pay", amount=due, method="cash")
    assert 'name="counted-cash"' in await browser.see(page)
    counted: dict[str, Any] = {"counted-cash": "1.00"}
    refused = await browser.send(f"{page}/handover", 422, **counted)
    assert 'value="1.00"' in refused.text
    await browser.send(f"{page}/handover", **counted, note="the rest was stolen")
    assert "the rest was stolen" in await browser.see(page)
    other = Browser(app_client, next_guard)
    await other.send(f"{page}/confirmation", note="")
    assert "Confirmed by" in await other.see(page)
    listed = f'href="{page}"'
    assert listed in await other.see("/parking/shifts?state=confirmed&desk=South+gate&since=&until=")
    assert listed in await other.see("/parking/shifts?since=2026-01-01")
    assert listed not in await other.see("/parking/shifts?until=2026-01-01")
    file = await app_client.get("/parking/shifts.csv")
    assert file.text.count("the rest was stolen") == 1
