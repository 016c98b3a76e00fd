"""Usage by meter, unit, building and project over REST: steps, sub-meters, gaps, DST days, limits, scope."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.metering import service
from cloud.metering.records import NewMeter
from tests.integration.app import Auth, People

MONDAY = datetime(2026, 1, 4, 16, tzinfo=UTC)
"""2026-01-05T00:00 in Shanghai."""


class House:
    """Building, flat with a tenant until 2026-01-06 and a sub-meter under the master of the house."""

    project: int
    building: int
    unit: int
    person: int
    master: int
    sub: int


@pytest.fixture
async def house(owner_db: Database, people: People) -> House:
    """Master 2 kWh and sub-meter 1 kWh every hour of Monday and Tuesday; the sub-meter's rows by the quarter."""
    house = House()
    house.project = (await people.project()).id
    async with owner_db.transaction(SYSTEM) as conn:
        house.building = (await estate.create_building(conn, house.project, "B1", "House 1")).id
        unit = await estate.create_unit(conn, house.project, house.building, "101")
        house.unit = unit.id
        person = await estate.create_person(conn, Sealer(Keys.generate()), house.project, "Tenant")
        house.person = person.id
        await estate.create_occupancy(
            conn, house.project, house.unit, person.id, "tenant", date(2025, 1, 1), date(2026, 1, 6)
        )
        new = NewMeter("MASTER", "electricity", None, 10**9, 10**6, date(2025, 1, 1))
        house.master = (await service.create_meters(conn, house.project, [new]))[0].id
        new = NewMeter("SUB", "electricity", unit.id, 10**9, 10**6, date(2025, 1, 1), parent_id=house.master)
        house.sub = (await service.create_meters(conn, house.project, [new]))[0].id
        for meter, length, quantity in ((house.master, 3600, 2000), (house.sub, 900, 250)):
            await conn.execute(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
                   SELECT %s, 1, at, %s, %s, 0, CASE WHEN at < %s THEN 4 ELSE 0 END, %s
                   FROM generate_series(%s, %s, %s) AS at""",
                (meter, length, quantity, MONDAY + timedelta(hours=1), house.project, MONDAY,
                 MONDAY + timedelta(hours=48, seconds=-1), timedelta(seconds=length)),
            )  # fmt: skip
        await conn.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               SELECT unnest(%s::bigint[]), 1, %s, %s, %s""",
            ([house.master, house.sub], house.project, MONDAY, MONDAY + timedelta(hours=48)),
        )
    return house


async def ask(client: httpx.AsyncClient, auth: Auth, expect: int = 200, **query: Any) -> Any:
    asked = {"from": "2026-01-05", "to": "2026-01-06"} | query
    answer = await client.get("/api/v1/usage", params=asked, headers=auth)
    assert answer.status_code == expect, answer.text
    return answer.json()


def values(answer: Any) -> list[list[str | None]]:
    return [[bar["quantity"] for bar in item["bars"]] for item in answer["items"]]


async def test_a_sub_meter_is_not_added_to_its_master(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    assert values(await ask(app_client, staff, project_id=house.project)) == [["48.000"]]
    assert values(await ask(app_client, staff, building_id=house.building)) == [["24.000"]]
    assert values(await ask(app_client, staff, unit_id=house.unit)) == [["24.000"]]
    assert values(await ask(app_client, staff, meter_id=house.sub)) == [["24.000"]]
    meters = await ask(app_client, staff, project_id=house.project, group="meter", limit=1)
    assert (meters["items"][0]["id"], values(meters)) == (house.master, [["48.000"]])
    rest = await ask(app_client, staff, project_id=house.project, group="meter", limit=1, cursor=meters["next_cursor"])
    assert (rest["items"][0]["id"], values(rest), rest["next_cursor"]) == (house.sub, [["24.000"]], None)


async def test_steps_qualities_and_gaps(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    staff = await people.staff()
    quarters = (await ask(app_client, staff, meter_id=house.sub, step="15min"))["items"][0]["bars"]
    assert len(quarters) == 96
    assert [bar["quality"] for bar in quarters[2:6]] == ["estimated", "estimated", "measured", "measured"]
    halves = values(await ask(app_client, staff, meter_id=house.sub, step="30min"))[0]
    assert halves == ["0.500"] * 48
    coarse = (await ask(app_client, staff, meter_id=house.master, step="15min"))["items"][0]["bars"]
    assert {(bar["quantity"], bar["quality"], bar["complete"]) for bar in coarse} == {(None, "gap", False)}
    days = (await ask(app_client, staff, meter_id=house.sub, to="2026-01-08"))["items"][0]["bars"]
    assert [(bar["quantity"], bar["complete"]) for bar in days] == [("24.000", True), ("24.000", True), (None, False)]


async def test_what_is_too_much_or_unclear_is_refused(
    app_client: httpx.AsyncClient, people: People, house: House
) -> None:
    staff = await people.staff()
    answer = await ask(app_client, staff, 422, meter_id=house.sub, step="15min", to="2026-03-05")
    assert answer["code"] == "bad-period"
    await ask(app_client, staff, 422, meter_id=house.sub, unit_id=house.unit)
    await ask(app_client, staff, 422)
    await ask(app_client, staff, 404, meter_id=10**9)
    await ask(app_client, staff, 404, building_id=10**9)


async def test_a_resident_reads_his_own_days_alone(app_client: httpx.AsyncClient, people: People, house: House) -> None:
    resident = await people.resident(house.project, house.person)
    seen = await ask(app_client, resident, project_id=house.project, to="2026-01-07")
    assert values(seen) == [["24.000", None]]
    await ask(app_client, resident, 404, meter_id=house.master)
    other = await people.staff("admin", (await people.project()).id)
    await ask(app_client, other, 404, project_id=house.project)
