"""What somebody who is not signed in gets of the page where one pays by plate: how often, how late, and how little."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.parking import service as parking
from cloud.parking.visitors import public_pages
from cloud.parking.visitors.looking_up import look_up
from cloud.payments.collecting import Collector
from tests.integration.browser import text_of
from tests.integration.parking.site import Site, minutes, rows
from tests.integration.payments.providers import Providers, providers, settings

__all__ = ["providers", "settings"]

PLATE = "京A12345"


@pytest.fixture
async def collector(worker_db: Database, providers: Providers) -> AsyncIterator[Collector]:
    """The worker's side."""
    async with providers.channels() as channels:
        yield Collector(worker_db, channels, providers.now, takers={"parking": parking.take_paid})


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When answers that were held back began to be made; none takes longer for it here."""
    began: list[float] = []

    async def late(began_s: float) -> None:
        began.append(began_s)

    monkeypatch.setattr(public_pages, "_late", late)
    return began


@pytest.fixture
async def code(worker_db: Database, site: Site, waited: list[float]) -> str:
    """The code on the sign."""
    async with worker_db.transaction(SYSTEM) as conn:
        made = await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(), public=True)
    assert made.public_code is not None
    return made.public_code


async def _send(client: httpx.AsyncClient, place: str, **fields: str) -> httpx.Response:
    page = await client.get(f"/park/{place.split('/')[0]}")
    found = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return await client.post(
        f"/park/{place}", data={"csrf_token": found[1], **fields}, headers={"Accept-Language": "en"}
    )


async def test_one_address_asks_for_so_many_plates_a_minute_and_no_more(
    app_client: httpx.AsyncClient, code: str
) -> None:
    """Guessing plates: each is another one, so only the address is the same."""
    asked = [(await _send(app_client, code, plate=f"京A{nth:05}")).status_code for nth in range(21)]
    assert asked == [200] * 20 + [429]


@pytest.mark.parametrize("place", ["", "/pay", "/coupon"])
async def test_a_plate_is_asked_for_so_often_however_it_is_written_and_wherever(
    app_client: httpx.AsyncClient, code: str, place: str
) -> None:
    fields = {"/pay": {"channel": "wechat"}, "/coupon": {"coupon": "ABCDEFGH"}}.get(place, {})
    written = ["京A12345", "京a·12345", "京A-12345", "京A 12345", "京 A12345"]
    asked = [
        (await _send(app_client, f"{code}{place}", plate=written[nth % 5], **fields)).status_code for nth in range(11)
    ]
    assert asked[-1] == 429
    assert 429 not in asked[:-1]


async def test_unknown_and_owing_plates_are_answered_equally_late(
    app_client: httpx.AsyncClient, ingest_db: Database, site: Site, code: str, waited: list[float]
) -> None:
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - timedelta(hours=5))], now)
    for nth, plate in enumerate((PLATE, "苏C99999"), 1):
        assert (await _send(app_client, code, plate=plate)).status_code == 200
        assert len(waited) == nth
    refused = await _send(app_client, f"{code}/coupon", plate=PLATE, coupon="ABCDEFGH")
    assert refused.status_code in (404, 409, 422)
    assert len(waited) == 3, "nor does it say whether a coupon was there"


async def test_the_page_says_an_amount_and_a_rounded_time_and_nothing_of_whose_vehicle_it_is(
    app_client: httpx.AsyncClient, ingest_db: Database, worker_db: Database, site: Site, code: str
) -> None:
    now = datetime.now(UTC)
    came = (now - timedelta(hours=4, minutes=58)).replace(second=0, microsecond=0)
    came -= minutes(came.minute % 5) - minutes(3)
    await site.report(ingest_db, [site.passage("entry", PLATE, came)], now)
    async with worker_db.transaction(SYSTEM) as conn:
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang Xiaoming")
        begin = now - timedelta(days=2)
        await parking.register_vehicle(conn, site.project_id, PLATE, person.id, valid_from=begin)
        (owed,) = (await look_up(conn, site.project_id, PLATE, "CNY", now)).owed
    assert owed.since == came - minutes(3)
    page = (await _send(app_client, code, plate=PLATE)).text
    (stay,) = await rows(ingest_db, "SELECT id FROM parking_session")
    said = text_of(page)
    assert "8.00" in said
    assert f":{came:%M}" not in said
    for secret in ("Wang Xiaoming", "Main lot", "/parking/", f"sessions/{stay['id']}"):
        assert secret not in page, secret


async def test_no_page_for_a_project_that_has_switched_it_off_or_for_a_code_of_none(
    app_client: httpx.AsyncClient, worker_db: Database, site: Site, code: str
) -> None:
    form = await app_client.get(f"/park/{code}")
    assert form.status_code == 200
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, site.project_id, parking.MoneyPolicy(), public=False)
    for asked in (code, "zzzzzzzz", "a%20b"):
        assert (await app_client.get(f"/park/{asked}")).status_code == 404


async def test_the_payment_of_a_bill_is_nobodys_to_see_there(
    app_client: httpx.AsyncClient, ingest_db: Database, owner_db: Database, site: Site, code: str, collector: Collector
) -> None:
    """Who has the number of somebody's order for a bill learns nothing of it from the page of the car park."""
    now = datetime.now(UTC)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - timedelta(hours=5))], now)
    asked = await _send(app_client, f"{code}/pay", plate=PLATE, channel="wechat")
    await collector.step()
    place = asked.headers["Location"]
    assert (await app_client.get(place)).status_code == 200
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("ALTER TABLE payment_intent DISABLE TRIGGER USER")
        person = await estate.create_person(conn, Sealer(Keys.generate()), site.project_id, "Wang")
        account = await estate.create_account(conn, site.project_id, "A-1", None, person.id, now.date())
        await conn.execute("UPDATE payment_intent SET purpose = 'bill', account_id = %s", (account.id,))
    assert (await app_client.get(place)).status_code == 404
