"""The demo's meters are as one finds them: rated, classed, sealed, bound, some with a verification that is due."""

from datetime import date, timedelta
from unittest.mock import Mock

from cloud.devices import bindings
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.metering.assets import service as assets
from cloud.metering.assets.registers import registers_of
from cloud.metering.records import MeterFilter
from simulators.demo.estate import build_estate
from simulators.demo.plan import make_plan
from simulators.demo.progress import Step


async def test_meters_of_the_demo_are_whole(worker_db: Database, keys: Keys) -> None:
    since = date(2026, 1, 1)
    plan = make_plan(1, since, 1)
    async with worker_db.transaction(SYSTEM) as conn:
        built = await build_estate(conn, Sealer(keys), plan, Mock(Step))
        meters = (await metering.list_meters(conn, PageRequest(500), built.project.id)).items
        registers = await registers_of(conn, [meter.id for meter in meters])
        seals = [await assets.seals_of(conn, meter.id) for meter in meters]
        bound = (await bindings.list_bindings(conn, PageRequest(500), built.project.id)).items
        soon = MeterFilter(due_by=since + timedelta(days=365))
        due = (await metering.list_meters(conn, PageRequest(500), built.project.id, soon)).items
    assert len(meters) == 2 * len(plan.flats) == len(bound)
    assert {meter.meter_class for meter in meters} == {"electricity-residential", "water-residential"}
    faces = {(one.modulus, one.max_per_hour) for history in registers.values() for one in history}
    assert faces == {(10**9, 18_400), (10**12, 5_000_000)}
    assert all(meter.serial for meter in meters)
    assert [len(found) for found in seals] == [1] * len(meters)
    assert 0 < len(due) < len(meters)
