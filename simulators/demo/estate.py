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
from cloud.metering.assets.ratings import Digits, bounds_of, max_per_hour_of
from cloud.metering.assets.service import apply_seal
from cloud.metering.records import NewMeter
from cloud.metering.thresholds import overrides
from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT
from simulators.demo.options import GATEWAY, PROJECT, ZONE
from simulators.demo.plan import BUILDINGS, EstatePlan, Flat, Resident
from simulators.demo.progress import Step

Medium = Literal["electricity", "water"]
MEDIA: Final[tuple[Medium, ...]] = ("electricity", "water")

_M3: Final = 10 ** EXPONENT_OF_PREFIXED_UNIT["m3"][1]
_FACE: Final = {"electricity": Digits(6, 3), "water": Digits(6, 6)}
"""Six digits before the point, as the demo meter templates show them."""
_RATING: Final[dict[Medium, dict[str, int]]] = {
    "electricity": {"voltage_v": 230, "max_current_ma": 80_000, "phases": 1},
    "water": {"q3_ml_per_h": 4 * _M3, "q4_ml_per_h": 5 * _M3},
}
_CLASS: Final = {"electricity": "electricity-residential", "water": "water-residential"}
_SEALED_AT: Final = {"electricity": "端子盖", "water": "接管螺母"}
_VERIFIED_FOR: Final = 6 * 365
"""Days; the meters of the estate are spread over them, so that some are due soon."""
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
    for meter_class in _CLASS.values():
        # The older history has one reading a day: that is as it should be, and not thousands of findings.
        await overrides.set_of_class(conn, project.id, meter_class, {"gap_slots": 23})
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
    modulus, resolution = bounds_of(medium, _FACE[medium])
    new = NewMeter(
        code=flat.device(medium).upper(),
        medium=medium,
        unit_id=unit_id,
        modulus=modulus,
        resolution=resolution,
        rating=_RATING[medium],
        max_per_hour=max_per_hour_of(medium, _RATING[medium]),
        installed_on=since - timedelta(days=1),
        serial=f"{since.year % 100}{device.id:06}",
        meter_class=_CLASS[medium],
        verification_due=since + timedelta(days=device.id * 97 % _VERIFIED_FOR),
    )
    meter = (await metering.create_meters(conn, project.id, [new]))[0]
    start = day_start(since, project.zone)
    await apply_seal(conn, meter.id, f"S{device.id:06}", _SEALED_AT[medium], start, "和园物业", start)
    await devices.bind(conn, device.id, meter.id, start)
    return meter.id
