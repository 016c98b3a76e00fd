"""The pages of thresholds: a field per setting, sources, problems beside their field, history."""

import re
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.metering.site import Site, make_site
from tests.integration.metering.test_edit_pages import Visit, visit

OF_CLASS = "/thresholds/electricity-residential"


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db, meters=1)


@pytest.fixture
async def manager(app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site) -> Visit:
    return await visit(app_client, owner_db, await people.staff("manager", site.project_id))


async def kept(db: Database) -> list[tuple[Any, ...]]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT class, meter_id, settings FROM validation_threshold")).fetchall()
    return [tuple(row.values()) for row in rows]


def field(text: str, name: str) -> str:
    """A setting of the form with its hint, as it is written."""
    found = re.search(rf'<label[^>]*for="f-{re.escape(name)}".*?form-hint[^>]*>(.*?)</div>', text, re.DOTALL)
    assert found is not None, name
    return re.sub(r"\s+", " ", found[0])


async def test_a_class_is_set_and_inherits_again(manager: Visit, owner_db: Database, site: Site) -> None:
    assert "1 differs" not in await manager.page("/thresholds")
    answer = await manager.send(OF_CLASS, {"zero_days": "7", "spike_floor": "2.5", "rules.spike": "info"})
    assert answer.status_code == 303, answer.text
    assert await kept(owner_db) == [
        ("electricity-residential", None, {"zero_days": 7, "spike_floor": 2_500, "rules": {"spike": "info"}})
    ]
    assert "3 differ" in await manager.page("/thresholds")
    text = (await manager.client.get(OF_CLASS)).text
    assert 'value="7" placeholder="14"' in field(text, "zero_days")
    assert "1 to 400 days · in force: 7 days (of the project)" in field(text, "zero_days")
    assert 'value="2.5" placeholder="2"' in field(text, "spike_floor")
    assert "0 to 1,000,000,000 kWh · in force: 2.5 kWh (of the project)" in field(text, "spike_floor")
    assert '<option value="info" selected>' in field(text, "rules.spike")
    assert "in force: off (of the class)" in field(text, "rules.leak")
    assert "(built in)" in field(text, "gap_slots")
    of_meter = (await manager.client.get(f"/meters/{site.meters[0]}/thresholds")).text
    assert 'value="" placeholder="7"' in field(of_meter, "zero_days")
    assert "in force: 7 days (of the project)" in field(of_meter, "zero_days")
    assert (await manager.send(OF_CLASS, {"zero_days": ""})).status_code == 303
    assert await kept(owner_db) == []


async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_kept(
    manager: Visit, owner_db: Database, site: Site
) -> None:
    address = f"/meters/{site.meters[0]}/thresholds"
    answer = await manager.send(address, {"zero_days": "0", "loss_low_permille": "80", "gap_slots": "3"})
    assert answer.status_code == 422
    assert "expected a number, 1 to 400 days, without decimals" in field(answer.text, "zero_days")
    assert 'value="0"' in field(answer.text, "zero_days")
    assert 'value="3"' in field(answer.text, "gap_slots")
    assert "is-invalid" not in field(answer.text, "gap_slots")
    answer = await manager.send(address, {"loss_low_permille": "80"})
    assert "expected at most the upper bound" in field(answer.text, "loss_low_permille")
    answer = await manager.send(address, {"profile": "1 2"})
    assert "expected 24 whole numbers, 0 to 10,000" in field(answer.text, "profile")
    assert (await manager.send(address, {"settings": "{}"})).status_code == 422
    assert await kept(owner_db) == []


async def test_history_goes_on_where_a_row_was_made_anew(manager: Visit, site: Site) -> None:
    address = f"/meters/{site.meters[0]}/thresholds"
    assert "Nothing was changed" in await manager.page(address)
    for form in ({"zero_days": "7"}, {"zero_days": "9", "rules.leak": "off"}, {}, {"zero_days": "3"}):
        assert (await manager.send(address, form)).status_code == 303
    await manager.send(OF_CLASS, {"zero_days": "365"})
    text = (await manager.page(address)).partition("What changed before")[2]
    found = re.findall(r"Days without usage: (\w+(?: days)?) → (\w+(?: days)?)", text)
    assert found == [("inherited", "3 days"), ("9 days", "inherited"), ("7 days", "9 days"), ("inherited", "7 days")]
    assert text.count("Water flows in every hour") == 2
    assert "365" not in text
    assert "user" in text


async def test_only_who_may_configure_meters_comes_in(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    of_meter = f"/meters/{site.meters[0]}/thresholds"
    viewer = await visit(app_client, owner_db, await people.staff("viewer", site.project_id))
    for address in ("/thresholds", OF_CLASS, of_meter):
        await viewer.page(address, 403)
        if address != "/thresholds":
            assert (await viewer.send(address, {"zero_days": "1"})).status_code == 403
    stranger = await visit(app_client, owner_db, await people.staff("manager", (await people.project()).id))
    await stranger.page(of_meter, 404)
    assert (await stranger.send(of_meter, {"zero_days": "1"})).status_code == 404
    await stranger.page("/thresholds/gas", 422)
    assert await kept(owner_db) == []
