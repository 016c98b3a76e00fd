"""What the demo charges for: tariffs, agreements, the lot with its fee rule, the residents' vehicles."""

from datetime import date
from pathlib import Path
from typing import Final

from cloud.billing import service as billing
from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.kit.periods import day_start
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from gateway.templates.library import firmware_config
from simulators.demo.bills import POLICY
from simulators.demo.estate import BuiltEstate
from simulators.demo.site import example_site

LOT: Final = "lot-1"
CAPACITY: Final = 120
_TARIFFS: Final = {
    "electricity": ("beijing-electricity.yaml", "居民阶梯电价"),
    "water": ("beijing-water.yaml", "居民阶梯水价"),
    "property": ("property-fee.yaml", "物业费"),
}
_LANE_NAMES: Final = {"entry": "东门入口", "exit": "东门出口"}


async def make_agreements(conn: Conn, built: BuiltEstate, since: date) -> None:
    """Publishes the tariffs and lets every account be charged by them from `since` on."""
    folder = firmware_config() / "tariffs"
    ids = {service: await _tariff(conn, built, folder, service, since) for service in _TARIFFS}
    agreements = [
        billing.NewAgreement(flat.account_id, service, tariff_id, since, flat.meters.get(service), flat.unit_id)
        for flat in built.flats
        for service, tariff_id in ids.items()
    ]
    await billing.create_agreements(conn, built.project.id, agreements)
    await billing.set_policy(conn, built.project.id, since, POLICY)


async def _tariff(conn: Conn, built: BuiltEstate, folder: Path, service: str, since: date) -> int:
    file, name = _TARIFFS[service]
    content = load_yaml(folder / file, TariffContent)
    code = file.removesuffix(".yaml")
    return (await tariffs.publish(conn, built.project.id, code, name, service, content, since)).tariff_id


async def make_lot(conn: Conn, built: BuiltEstate, since: date) -> None:
    """The lot of the site file with its lanes, the mall's fee rule, and the vehicles of residents."""
    project = built.project
    lot = await parking.create_lot(conn, project.id, LOT, "地面停车场", CAPACITY)
    for line in example_site()["barriers"]:
        for lane in line["lanes"]:
            device = await devices.create_device(
                conn, project.id, built.gateway_id, lane["device"], "barrier", "generic-json"
            )
            name = _LANE_NAMES[lane["direction"]]
            await parking.create_lane(conn, lot.id, lane["device"], name, lane["direction"], device.id)
    rule = load_yaml(firmware_config() / "parking" / "mall.yaml", ParkingRule)
    await parking.publish_rule(conn, lot.id, rule, since)
    for flat in built.flats:
        vehicle = flat.flat.vehicle
        if vehicle is not None:
            await parking.register_vehicle(
                conn, project.id, vehicle.plate, flat.payer_id, vehicle.vehicle_class, day_start(since, project.zone)
            )
