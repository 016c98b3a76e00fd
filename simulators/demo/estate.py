"""Enters the planned estate through the services of the cloud, as an administrator's import would."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import day_start
from cloud.kit.security import Sealer
from cloud.metering import service as metering
from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT
from simulators.demo.options import GATEWAY, PROJECT, ZONE
from simulators.demo.plan import BUILDINGS, EstatePlan, Flat, Resident
from simulators.demo.progress import Step

Medium = Literal["electricity", "water"]
MEDIA: Final[tuple[Medium, ...]] = ("electricity", "water")

_KWH, _M3 = (10 ** EXPONENT_OF_PREFIXED_UNIT[unit][1] for unit in ("kWh", "m3"))
_MODULUS: Final = {"electricity": 10**6 * _KWH, "water": 10**6 * _M3}
"""Six digits before the point, as the demo meter templates show them."""
_MAX_PER_HOUR: Final = {"electricity": 15 * _KWH, "water": 4 * _M3}
"""60 A at 230 V, and Q4 of a DN15 water meter with a margin."""
_TEMPLATE: Final = {"electricity": "gatemeter-demo-electricity", "water": "gatemeter-demo-water"}


@dataclass(frozen=True, slots=True)
class BuiltFlat:
    """Ids of one flat's rows. `meters` is by medium."""

    flat: Flat
    unit_id: int
    payer_id: int
    account_id: int
    meters: dict[str, int]


@dataclass(frozen=True, slots=True)
class BuiltEstate:
    """What was entered."""

    project: Project
    gateway_id: int
    flats: tuple[BuiltFlat, ...]


async def build_estate(conn: Conn, sealer: Sealer, plan: EstatePlan, step: Step) -> BuiltEstate:
    """The whole estate in the caller's transaction. Raises Conflict when the project exists already."""
    project = await estate.create_project(conn, PROJECT, "和园小区", ZONE.key, "CNY", address="北京市示范区和园路 1 号")
    gateway = await devices.create_gateway(conn, project.id, GATEWAY, "弱电间网关")
    buildings = [
        (await estate.create_building(conn, project.id, str(number), f"{number}号楼")).id
        for number in range(1, BUILDINGS + 1)
    ]
    flats = []
    for flat in plan.flats:
        flats.append(await _flat(conn, sealer, project, gateway.id, buildings[flat.building - 1], flat, plan.since))
        step.advance()
    return BuiltEstate(project, gateway.id, tuple(flats))


async def _flat(
    conn: Conn, sealer: Sealer, project: Project, gateway_id: int, building_id: int, flat: Flat, since: date
) -> BuiltFlat:
    unit = await estate.create_unit(conn, project.id, building_id, flat.code, floor=flat.floor, area=flat.area)
    owner_id = await _person(conn, sealer, project, flat.owner)
    await estate.create_occupancy(conn, project.id, unit.id, owner_id, "owner", since)
    payer_id = owner_id
    if flat.tenant is not None:
        payer_id = await _person(conn, sealer, project, flat.tenant)
        await estate.create_occupancy(conn, project.id, unit.id, payer_id, "tenant", since)
    await estate.create_household(conn, project.id, unit.id, flat.persons, since)
    account = await estate.create_account(conn, project.id, flat.account_number, unit.id, payer_id, since)
    meters: dict[str, int] = {
        medium: await _meter(conn, project, gateway_id, unit.id, flat, medium, since) for medium in MEDIA
    }
    return BuiltFlat(flat, unit.id, payer_id, account.id, meters)


async def _person(conn: Conn, sealer: Sealer, project: Project, who: Resident) -> int:
    person = await estate.create_person(
        conn, sealer, project.id, who.name, phone=who.phone, id_number=who.id_number, email=who.email
    )
    return person.id


async def _meter(
    conn: Conn, project: Project, gateway_id: int, unit_id: int, flat: Flat, medium: Medium, since: date
) -> int:
    device = await devices.create_device(conn, project.id, gateway_id, flat.device(medium), medium, _TEMPLATE[medium])
    meter = await metering.create_meter(
        conn,
        project.id,
        flat.device(medium).upper(),
        medium,
        unit_id=unit_id,
        modulus=_MODULUS[medium],
        max_per_hour=_MAX_PER_HOUR[medium],
        installed_on=since - timedelta(days=1),
    )
    await devices.bind(conn, device.id, meter.id, day_start(since, project.zone))
    return meter.id
