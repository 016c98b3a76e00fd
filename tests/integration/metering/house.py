"""A small house with a master meter, sub-meters and usage put straight into the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.metering.records import MAIN_CHANNEL, Medium, NewMeter
from tests.integration.metering.counted import COUNT

MARCH = Period(date(2026, 3, 1), date(2026, 4, 1))
TODAY = date(2026, 4, 2)
INSTALLED = date(2025, 1, 1)


@dataclass
class House:
    """Flats 0101 and 0102, a shop 0001; `master` with a sub-meter in each of them. Areas: 80, 40, 120 m²."""

    project: Project
    building_id: int
    flats: list[int]
    shop: int
    master: int
    subs: list[int]
    medium: Medium
    people: dict[str, int]

    @property
    def units(self) -> list[int]:
        """All of them."""
        return [*self.flats, self.shop]


async def make_house(conn: Conn, project: Project, medium: Medium = "electricity") -> House:
    """In flat 0101 `former` moved out and `tenant` in on 11 March; `neighbour` lives in 0102; nobody runs the shop."""
    building = await estate.create_building(conn, project.id, "1", "Tower 1")
    flats = [
        (await estate.create_unit(conn, project.id, building.id, code, area=Decimal(area))).id
        for code, area in (("0101", 80), ("0102", 40))
    ]
    shop = (await estate.create_unit(conn, project.id, building.id, "0001", kind="shop", area=Decimal(120))).id
    sealer = Sealer(Keys.generate())
    moved, people = date(2026, 3, 11), {}
    for who, unit, start, end in (
        ("former", flats[0], INSTALLED, moved),
        ("tenant", flats[0], moved, None),
        ("neighbour", flats[1], INSTALLED, None),
    ):
        people[who] = (await estate.create_person(conn, sealer, project.id, who)).id
        await estate.create_occupancy(conn, project.id, unit, people[who], "tenant", start, end)
    master = (await metering.create_meter(conn, project.id, "M", medium, None, 10**12, 10**9, INSTALLED)).id
    subs = await metering.create_meters(
        conn,
        project.id,
        [
            NewMeter(f"S{n}", medium, unit, 10**12, 10**9, INSTALLED, parent_id=master)
            for n, unit in enumerate([*flats, shop], start=1)
        ],
    )
    return House(project, building.id, flats, shop, master, [meter.id for meter in subs], medium, people)


async def use(
    conn: Conn, house: House, meter_id: int, start: datetime, quantities: Sequence[int], method: int = 0,
    length_s: int = 3600,
) -> None:  # fmt: skip
    """Rows of usage, one after the other, counted."""
    await conn.execute(
        """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, method, project_id)
           SELECT %s, %s, %s + (nth - 1) * %s * interval '1 second', %s, quantity, %s, %s
           FROM unnest(%s::bigint[]) WITH ORDINALITY AS q (quantity, nth)""",
        (meter_id, MAIN_CHANNEL[house.medium].number, start, length_s, length_s, method, house.project.id,
         list(quantities)),
    )  # fmt: skip
    await conn.execute(COUNT)


async def use_month(conn: Conn, house: House, meter_id: int, hourly: int, period: Period = MARCH) -> None:
    """The same in every hour."""
    start, end = period.instants(house.project.zone)
    await use(conn, house, meter_id, start, [hourly] * ((end - start) // timedelta(hours=1)))


def local(house: House, day: date, hour: int = 0) -> datetime:
    """An instant of the project's clock, in UTC."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=house.project.zone).astimezone(UTC)
