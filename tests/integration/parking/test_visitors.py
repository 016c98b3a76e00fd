"""Visitors and residents: paying by plate without signing in, passes for a time, vehicles that residents name."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.parking import service as parking
from cloud.parking.charging.debts import owing
from cloud.parking.visitors import public_pages, telling
from cloud.parking.visitors.covering import covered
from cloud.parking.visitors.looking_up import look_up
from cloud.payments.collecting import Collector
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.parking.nested import set_policy
from tests.integration.parking.site import Site, openings, rows
from tests.integration.payments.providers import Providers, providers, settings

__all__ = ["providers", "settings"]

PLATE = "京A12345"


@pytest.fixture
async def code(worker_db: Database, site: Site) -> str:
    """The code on the sign."""
    async with worker_db.transaction(SYSTEM) as conn:
        made = await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(passes_a_month=2), public=True)
    assert made.public_code is not None
    return made.public_code


@pytest.fixture
async def collector(worker_db: Database, providers: Providers) -> AsyncIterator[Collector]:
    """The worker's side."""
    async with providers.channels() as channels:
        yield Collector(worker_db, channels, providers.now, takers={"parking": parking.take_paid})


@pytest.fixture
async def resident(worker_db: Database, site: Site, people: People) -> Auth:
    """A resident of the project."""
    async with worker_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang")
    return await people.resident(site.project_id, person.id)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests do not ask how long an answer takes."""
    monkeypatch.setattr(public_pages, "_ANSWERS_AFTER_S", 0.0)


async def _token(client: httpx.AsyncClient, code: str) -> dict[str, str]:
    page = await client.get(f"/park/{code}")
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return {"csrf_token": found[1]}


async def _ask(client: httpx.AsyncClient, code: str, plate: str) -> httpx.Response:
    return await client.post(f"/park/{code}", data=await _token(client, code) | {"plate": plate})


def _due(answer: httpx.Response) -> str:
    """What the page says below the form, without what is random."""
    assert answer.status_code == 200, answer.text
    text = answer.text[answer.text.index('id="due"') :]
    return re.sub(r'value="[^"]*"|\s+', " ", text[: text.index("</main>")] if "</main>" in text else text)


async def test_a_plate_is_paid_without_signing_in_and_let_out(
    app_client: httpx.AsyncClient,
    ingest_db: Database,
    site: Site,
    code: str,
    collector: Collector,
    providers: Providers,
) -> None:
    now = datetime.now(UTC)
    came = now - timedelta(hours=4, minutes=58)
    await site.report(ingest_db, [site.passage("entry", PLATE, came)], now)
    await site.report(ingest_db, [site.passage("exit", PLATE, now, "arrived")], now)
    page = await _ask(app_client, code, "京a·12345")
    assert "8.00" in _due(page)
    form = await _token(app_client, code) | {"plate": PLATE, "channel": "wechat"}
    asked = await app_client.post(f"/park/{code}/pay", data=form)
    assert asked.status_code == 303
    place = asked.headers["Location"]
    await collector.step()
    assert 'id="code"' in (await app_client.get(place)).text
    trade = providers.wechat.pay(place.rpartition("/")[2])
    await providers.wechat.call_back(app_client, trade)
    await collector.step()
    assert 'id="code"' not in (await app_client.get(place)).text
    assert len(await openings(ingest_db)) == 1
    again = await app_client.post(f"/park/{code}/pay", data=form | await _token(app_client, code))
    assert again.status_code == 409
    head, _, key = place.rpartition("/")
    assert (await app_client.get(f"{head}/{key[::-1]}")).status_code == 404


async def test_unknown_free_and_unpriceable_plates_get_the_same_answer(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, code: str
) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - timedelta(minutes=10))], now)
    await site.report(ingest_db, [site.passage("exit", "粤B22222", now - timedelta(minutes=10))], now)
    answers = [await _ask(app_client, code, plate) for plate in ("苏C99999", PLATE, "粤B22222")]
    assert len({_due(answer) for answer in answers}) == 1


async def test_the_page_of_one_project_knows_no_plate_and_no_payment_of_another(
    app_client: httpx.AsyncClient,
    ingest_db: Database,
    worker_db: Database,
    site: Site,
    code: str,
    collector: Collector,
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        other = await estate.create_project(conn, "q", "Q", "Asia/Shanghai", "CNY")
        policy = await parking.set_money_policy(conn, other.id, parking.MoneyPolicy(), public=True)
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - timedelta(hours=5))], now)
    assert policy.public_code is not None
    theirs = policy.public_code
    known, unknown = [_due(await _ask(app_client, theirs, plate)) for plate in (PLATE, "苏C99999")]
    assert known == unknown
    form = {"plate": PLATE, "channel": "wechat"}
    refused = await app_client.post(f"/park/{theirs}/pay", data=await _token(app_client, theirs) | form)
    assert refused.status_code == 409
    asked = await app_client.post(f"/park/{code}/pay", data=await _token(app_client, code) | form)
    await collector.step()
    place = asked.headers["Location"]
    assert (await app_client.get(place)).status_code == 200
    assert (await app_client.get(place.replace(code, theirs))).status_code == 404


async def test_asking_is_counted_per_address_and_what_is_no_plate_is_refused(
    app_client: httpx.AsyncClient, code: str
) -> None:
    assert (await _ask(app_client, code, "'; drop table")).status_code == 422
    form = await _token(app_client, code)
    last = [(await app_client.post(f"/park/{code}", data=form | {"plate": PLATE})).status_code for _ in range(12)]
    assert last[0] == 200
    assert last[-1] == 429
    assert (await app_client.get("/park/zzzzzzzz")).status_code == 404


async def test_a_resident_lets_a_visitor_in_and_takes_it_back(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site, code: str, resident: Auth, people: People
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    month = (now + timedelta(days=40)).replace(day=10, hour=4, minute=0, second=0)

    async def give(status: int = 201, who: Auth = resident, **changed: object) -> dict[str, object]:
        body = {
            "project_id": site.project_id, "plate": PLATE, "since": (now - timedelta(minutes=1)).isoformat(),
            "until": (now + timedelta(hours=5)).isoformat(),
        } | changed  # fmt: skip
        answer = await app_client.post("/api/v1/visitor-passes", json=body, headers=who | once())
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    given = await give()
    assert (given["free"], given["lot_ids"]) == (True, [site.lot_id])
    await _told(worker_db, site, now, {("permit", f"pass-{given['id']}")})
    assert (await give(422, until=(now + timedelta(hours=30)).isoformat()))["code"] == "pass-too-long"
    assert (await give(404, lot_ids=[site.lot_id + 99]))["code"] == "no-lot"
    later: dict[str, Any] = {"since": month.isoformat(), "until": (month + timedelta(hours=2)).isoformat()}
    first, _ = await give(**later), await give(**later, plate="粤B22222")
    assert (await give(409, **later, plate="粤B33333"))["code"] == "passes-used-up"
    path = f"/api/v1/visitor-passes/{first['id']}/revocations"
    assert (await app_client.post(path, headers=resident | once())).status_code == 201
    await give(**later, plate="粤B33333", free=False)
    other = await people.staff("guard", site.project_id)
    assert (await give(201, who=other, plate="粤B44444"))["person_id"] is None
    mine = (await app_client.get("/api/v1/visitor-passes", headers=resident)).json()["items"]
    assert len(mine) == 4, "not those of staff"

    async with worker_db.transaction(SYSTEM) as conn:
        found = await covered(conn, site.project_id, [PLATE, ""], now, now + timedelta(hours=1))
    assert [(one.lot_id, one.end) for one in found[PLATE]] == [(site.lot_id, now + timedelta(hours=5))]
    path = f"/api/v1/visitor-passes/{given['id']}/revocations"
    assert (await app_client.post(path, headers=resident | once())).status_code == 201
    assert (await app_client.post(path, headers=resident | once())).json()["code"] == "pass-over"
    async with worker_db.transaction(SYSTEM) as conn:
        await telling.tell_passes(conn, site.project_id, now)
    assert f"pass-{given['id']}" not in {key for _, key in await _known(worker_db)}


async def _known(db: Database) -> set[tuple[str, str]]:
    query = "SELECT kind, key FROM gateway_access_entry WHERE entry IS NOT NULL AND key LIKE 'pass-%%'"
    return {(row["kind"], row["key"]) for row in await rows(db, query)}


async def _told(db: Database, site: Site, now: datetime, expected: set[tuple[str, str]]) -> None:
    async with db.transaction(SYSTEM) as conn:
        await telling.tell_passes(conn, site.project_id, now)
        assert await telling.tell_passes(conn, site.project_id, now) == 0
    assert await _known(db) == expected


async def test_a_resident_names_his_vehicle(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site, resident: Auth, people: People
) -> None:
    staff = await people.staff("manager", site.project_id)

    async def ask(plate: str, status: int = 201, who: Auth = resident) -> dict[str, object]:
        body = {"project_id": site.project_id, "plate": plate}
        answer = await app_client.post("/api/v1/vehicle-requests", json=body, headers=who | once())
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def decide(request_id: object, status: int = 201, who: Auth = staff, **body: object) -> dict[str, object]:
        path = f"/api/v1/vehicle-requests/{request_id}/decisions"
        answer = await app_client.post(path, json=body, headers=who | once())
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    asked = await ask(PLATE)
    assert asked["state"] == "asked"
    assert (await ask(PLATE, 409))["code"] == "asked-already"
    assert (await ask(PLATE, 403, staff))["code"] == "residents-only"
    await decide(asked["id"], 403, resident, approve=True)
    await decide(asked["id"], 422, approve=False)
    assert (await decide(asked["id"], approve=True))["state"] == "approved"
    await decide(asked["id"], 409, approve=True)
    assert (await decide((await ask(PLATE))["id"], 409, approve=True))["code"] == "plate-registered"
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(vehicles="at-once"), public=False)
    assert (await ask("粤B22222"))["id"] is None
    assert (await ask("粤B22222", 409))["code"] == "plate-registered"
    mine = (await app_client.get("/api/v1/vehicles", headers=resident)).json()["items"]
    assert [one["plate"] for one in mine] == [PLATE, "粤B22222"]


async def test_the_form_of_a_resident_names_a_vehicle_once_and_says_what_is_wrong(
    app_client: httpx.AsyncClient, worker_db: Database, resident: Auth
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    li = Browser(app_client, resident)
    await li.see("/my/vehicles")
    for _ in range(2):
        await li.send("/my/vehicles", once="v" * 16, plate=PLATE)
    assert len(await rows(worker_db, "SELECT FROM vehicle_request")) == 1
    refused = await li.send("/my/vehicles", 409, plate=PLATE)
    assert "the vehicle was asked for already" in text_of(refused.text)
    wrong = await li.send("/my/vehicles", 422, plate="<x>")
    assert 'aria-describedby="plate-problem"' in wrong.text
    assert 'value="&lt;x&gt;"' in wrong.text
    assert len(await rows(worker_db, "SELECT FROM vehicle_request")) == 1


async def test_of_whom_nobody_saw_come_in_nobody_is_told_when_he_came(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """It stood at the exit for an hour, and left at the fixed price without paying it."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    now = datetime.now(UTC)
    stands = site.passage("exit", PLATE, now - timedelta(hours=2), "arrived")
    await site.report(ingest_db, [stands, site.passage("exit", PLATE, now - timedelta(hours=1))], now)
    async with worker_db.transaction(SYSTEM) as conn:
        (debt,) = (await owing(conn, site.project_id, [PLATE]))[PLATE]
        (owed,) = (await look_up(conn, site.project_id, PLATE, "CNY", now)).owed
    assert debt.entered_at is None
    assert (owed.over, owed.came) == (True, False)
    assert owed.since > now - timedelta(minutes=70)


async def test_the_page_says_of_a_vehicle_inside_that_nobody_saw_it_come(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, code: str
) -> None:
    """It stands at the exit: when it was seen there is not when it came."""
    await set_policy(worker_db, site.lot_id, unseen_entry=[{"then": "fixed-charge", "amount": "20.00"}])
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("exit", PLATE, now - timedelta(minutes=40), "arrived")], now)
    page = await app_client.post(
        f"/park/{code}", data=await _token(app_client, code) | {"plate": PLATE}, headers={"Accept-Language": "en"}
    )
    said = text_of(page.text)
    assert "20.00" in said
    assert "Inside, its entry was not seen" in said
    assert "Inside since" not in said
