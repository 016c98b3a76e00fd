"""A permit becomes one of another class from now on: stays are split then, what was before costs what it cost."""

from datetime import date, timedelta
from decimal import Decimal

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.periods import in_ms
from cloud.parking import service as parking
from cloud.parking.permits import cards, classes, service
from cloud.parking.permits.records import Holding, NewPermit, Pay, Permit
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import NewHolder, NewSpace
from gateway.contract.access import PermitEntry
from gateway.contract.limits import MAX_TIME_MS
from tests.integration.app import People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.permits.holder import (
    DAY,
    FIRST,
    SECOND,
    Home,
    local,
    make_home,
    make_permit,
    make_product,
)
from tests.integration.parking.permits.test_telling import told
from tests.integration.parking.site import NOON, Site, rows

HOUR = timedelta(hours=1)
CHANGED = NOON + 3 * HOUR
LEFT = NOON + 5 * HOUR


@pytest.fixture
async def home(worker_db: Database, site: Site) -> Home:
    return await make_home(worker_db, site)


async def change(db: Database, permit: Permit, vehicle_class: str) -> Permit:
    async with db.transaction(SYSTEM) as conn:
        return await classes.change_class(conn, permit.id, vehicle_class, CHANGED)


async def fees(db: Database) -> list[Decimal]:
    return [row["fee"] for row in await rows(db, "SELECT fee FROM parking_session ORDER BY entered_at")]


async def test_a_stay_that_goes_on_is_split_when_the_class_changes(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await site.report(ingest_db, [site.passage("entry", FIRST, NOON)], NOON)
    assert (await change(worker_db, permit, "large")).vehicle_class == "large"
    (stay,) = await rows(worker_db, "SELECT id, vehicle_class FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        quote = await parking.quote(conn, stay["id"], LEFT)
        detail = await service.get_detail(conn, permit.id)
    assert (stay["vehicle_class"], quote.due) == ("small", Decimal("5.00")), "two of five hours"
    assert [(one.until, one.vehicle_class) for one in detail.classes_before] == [(CHANGED, "")]
    await site.report(ingest_db, [site.passage("exit", FIRST, LEFT)], LEFT)
    assert await fees(worker_db) == [Decimal("5.00")]


async def test_what_was_over_costs_what_it_cost_however_late_its_passages_come(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), since=NOON - DAY, until=None)
    await change(worker_db, permit, "large")
    before = CHANGED - 5 * HOUR
    late = [site.passage("exit", FIRST, CHANGED), site.passage("entry", FIRST, before)]
    await site.report(ingest_db, late, LEFT)
    assert await fees(worker_db) == [Decimal("0.00")]
    async with worker_db.transaction(SYSTEM) as conn:
        await classes.change_class(conn, permit.id, "small", LEFT)
        assert (await service.get_permit(conn, permit.id)).vehicle_class == "small"
    await site.report(ingest_db, [site.passage("entry", FIRST, CHANGED + HOUR), late[0]], LEFT)
    await site.report(ingest_db, [site.passage("exit", FIRST, LEFT + 4 * HOUR)], LEFT + 4 * HOUR)
    assert await fees(worker_db) == [Decimal("0.00"), Decimal("0.00")], "one hour of it, which is free anyway"


async def test_gateways_hold_both_times(worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await told(worker_db)
    await change(worker_db, permit, "large")
    cut = in_ms(CHANGED)
    assert await told(worker_db) == [
        PermitEntry(f"{permit.id}-0", (FIRST,), in_ms(NOON - DAY), cut, 0, 0, ("main",)),
        PermitEntry(f"{permit.id}-1", (FIRST,), cut, MAX_TIME_MS, 0, 0, ("main",), "large"),
    ]


async def test_changed_twice_in_a_moment_what_was_before_both_counts(worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    await change(worker_db, permit, "large")
    await change(worker_db, permit, "small")
    async with worker_db.transaction(SYSTEM) as conn:
        detail = await service.get_detail(conn, permit.id)
    assert [(one.until, one.vehicle_class) for one in detail.classes_before] == [(CHANGED, "")]
    assert detail.permit.vehicle_class == "small"


async def test_a_card_is_for_the_class_of_its_product(worker_db: Database, site: Site, home: Home) -> None:
    product = await make_product(worker_db, site, vehicle_class="small")
    async with worker_db.transaction(SYSTEM) as conn:
        pay = Pay(Decimal("300.00"), "cash")
        card = await cards.sell(
            conn, product.id, home.holds(FIRST), 1, pay, start=date(2026, 5, 1), at=local(date(2026, 5, 1))
        )
        await conn.execute("UPDATE permit SET vehicle_class = ''")  # as it was before cards had classes
    with pytest.raises(Conflict) as refused:
        await change(worker_db, card, "large")
    assert refused.value.code == "class-of-card"
    assert (await change(worker_db, card, "small")).vehicle_class == "small"


async def test_over_http_and_on_its_page(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, (FIRST,), until=None)
    manager, guard = await people.staff("manager", site.project_id), await people.staff("guard", site.project_id)
    path = f"/api/v1/parking-permits/{permit.id}"

    async def post(body: dict[str, str | None], status: int, auth: dict[str, str] = manager) -> dict[str, object]:
        answer = await app_client.post(f"{path}/class-changes", json=body, headers={**auth, **once()})
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    await post({"vehicle_class": "large"}, 403, guard)
    assert (await post({"vehicle_class": "large"}, 201))["vehicle_class"] == "large"
    assert (await post({"vehicle_class": "large"}, 409))["code"] == "class-there"
    await post({"vehicle_class": "LARGE"}, 422)
    detail = (await app_client.get(path, headers=manager)).json()
    assert [one["vehicle_class"] for one in detail["classes_before"]] == [None]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, manager)
    page = f"/parking/permits/{permit.id}"
    await browser.see(page)
    await browser.send(f"{page}/class", vehicle_class="")
    await browser.send(f"{page}/class", 409, vehicle_class="")
    await browser.send(f"{page}/class", 422, vehicle_class="no class")
    shown = text_of(await browser.see(page))
    assert "only class large" in shown.lower()
    assert "vehicles of any class" in shown
    query = "SELECT user_id, after->>'vehicle_class' AS before FROM audit_entry WHERE table_name = 'permit_class'"
    changes = await rows(owner_db, query + " ORDER BY id")
    assert [one["before"] for one in changes] == ["", "large"]
    assert all(one["user_id"] for one in changes)


async def test_a_permit_comes_to_no_other_holder_with_a_space_that_is_not_his(
    worker_db: Database, site: Site, home: Home
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        now = NOON
        own, free = [(await spaces.create(conn, site.lot_id, NewSpace(one), now)).id for one in ("A1", "A2")]
        owner = NewHolder("owner", home.person_id, None, NOON.date() - timedelta(days=9), None)
        holder = await spaces.add_holder(conn, own, owner, "test", now)
        row = await (
            await conn.execute(
                "INSERT INTO person (project_id, name) VALUES (%s, 'Li') RETURNING id", (site.project_id,)
            )
        ).fetchone()
        assert row is not None
    holding = Holding((SECOND,), person_id=home.person_id, space_ids=(own, free))
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewPermit("owner-space", (site.lot_id,), NOON - DAY, None, holding)
        permit = await service.create_permit(conn, site.project_id, new, at=NOON)
        note = Holding((), person_id=home.person_id, note="second car")
        assert (await service.change_permit(conn, permit.id, note, renews=False, at=NOON)).note == "second car"
    other = Holding((), person_id=row["id"])
    with pytest.raises(Conflict) as refused:
        async with worker_db.transaction(SYSTEM) as conn:
            await service.change_permit(conn, permit.id, other, renews=False, at=NOON)
    assert (refused.value.code, refused.value.params["space"]) == ("space-of-another", "A1")
    async with worker_db.transaction(SYSTEM) as conn:
        await spaces.end_holder(conn, holder.id, NOON.date())
        changed = await service.change_permit(conn, permit.id, other, renews=False, at=NOON)
    assert (changed.person_id, changed.space_numbers) == (row["id"], ["A1", "A2"])
