"""A house with a tenant, a master meter and a sub-meter, two days long, for tests of selections."""

from datetime import UTC, date, datetime, timedelta

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.metering import service
from cloud.metering.records import NewMeter
from tests.integration.app import People
from tests.integration.metering.counted import COUNT

MONDAY = datetime(2026, 1, 4, 16, tzinfo=UTC)
"""2026-01-05T00:00 in Shanghai."""
HOURS = 48


class House:
    """Building, flat with a tenant until 2026-01-06 and a sub-meter under the master of the house."""

    project: int
    building: int
    unit: int
    person: int
    master: int
    sub: int
    shop: int
    shop_unit: int
    shop_building: int
    """Once they are made."""


async def make_house(db: Database, people: People) -> House:
    """Master 2 kWh and sub-meter 1 kWh every hour of Monday and Tuesday; the sub-meter's rows by the quarter."""
    house = House()
    house.project = (await people.project()).id
    async with db.transaction(SYSTEM) as conn:
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
    await use_hourly(db, house.project, house.master, 2000)
    await use_hourly(db, house.project, house.sub, 250, timedelta(minutes=15))
    return house


async def make_shop(db: Database, house: House) -> None:
    """A meter in another building of the same project."""
    async with db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, house.project, "B2", "House 2")
        unit = await estate.create_unit(conn, house.project, building.id, "1")
        new = NewMeter("SHOP", "electricity", unit.id, 10**9, 10**6, date(2025, 1, 1))
        house.shop_building, house.shop_unit = building.id, unit.id
        house.shop = (await service.create_meters(conn, house.project, [new]))[0].id


async def make_read_house(db: Database, people: People) -> House:
    """The same with a shop; its three meters are read every hour of both days, all at the same instants."""
    house = await make_house(db, people)
    await make_shop(db, house)
    for meter in (house.master, house.sub, house.shop):
        await read_every(db, house.project, meter)
    return house


async def use_hourly(
    db: Database, project_id: int, meter_id: int, quantity: int, length: timedelta = timedelta(hours=1)
) -> None:
    """Two days of usage rows of this length from Monday on, marked as derivation does; the first hour is estimated."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, quality, method, project_id)
               SELECT %s, 1, at, %s, %s, 0, CASE WHEN at < %s THEN 4 ELSE 0 END, %s
               FROM generate_series(%s, %s, %s) AS at""",
            (meter_id, int(length.total_seconds()), quantity, MONDAY + timedelta(hours=1), project_id, MONDAY,
             MONDAY + timedelta(hours=48, seconds=-1), length),
        )  # fmt: skip
        await conn.execute(COUNT)
        await conn.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               VALUES (%s, 1, %s, %s, %s)""",
            (meter_id, project_id, MONDAY, MONDAY + timedelta(hours=48)),
        )


async def read_every(
    db: Database, project_id: int, meter_id: int, count: int = HOURS, step: timedelta = timedelta(hours=1)
) -> None:
    """Readings from Monday on, of 1000 Wh, 1001 Wh and so on."""
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, quality, project_id)
               SELECT %s, 1, %s::timestamptz + n * %s::interval, 1000 + n, 0, %s FROM generate_series(0, %s) AS n""",
            (meter_id, MONDAY, step, project_id, count - 1),
        )
