"""A small project with gateways, bound meters and a wire of its own, for tests of ingest and metering."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.ingest.messages import Incoming, Refused, read
from cloud.kit.db import SYSTEM, Database
from cloud.metering import service as metering
from cloud.metering.records import NewMeter
from gateway.contract import codec, topics
from gateway.contract.messages import Gap, Point
from gateway.contract.topics import Up

CHANNEL = "energy_import_total"
START_MS = 1_767_225_600_000
"""2026-01-01T00:00Z."""
HOUR_MS = 3_600_000
MODULUS = 10**9
MAX_PER_HOUR = 60_000


@dataclass(frozen=True, slots=True)
class Site:
    """Device `m1` carries the meter `meters[0]`, and so on; `spare` is a device without a meter."""

    project_id: int
    gateway_id: int
    devices: list[int]
    meters: list[int]
    spare: int


async def make_site(db: Database, meters: int = 3, code: str = "demo", zone: str = "Asia/Shanghai") -> Site:
    """Project `demo`, gateway `gw-1`, devices m1…, a device `spare` without a meter."""
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, code, "Demo", zone, "CNY")
        gateway = await devices.create_gateway(conn, project.id, "gw-1", "Gateway 1")
        new = [
            NewMeter(f"E{n}", "electricity", None, MODULUS, MAX_PER_HOUR, date(2025, 1, 1))
            for n in range(1, meters + 1)
        ]
        made = await metering.create_meters(conn, project.id, new)
        device_ids = []
        for n, meter in enumerate(made, start=1):
            device = await devices.create_device(conn, project.id, gateway.id, f"m{n}", "electricity")
            await devices.bind(conn, device.id, meter.id, datetime(2025, 1, 1, tzinfo=UTC))
            device_ids.append(device.id)
        spare = await devices.create_device(conn, project.id, gateway.id, "spare", "electricity")
    return Site(project.id, gateway.id, device_ids, [meter.id for meter in made], spare.id)


EPOCH = str(uuid.UUID(int=7))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def payload(seq: int, points: Sequence[Point] | Sequence[Gap], epoch: str = EPOCH) -> bytes:
    """What a gateway would publish."""
    return codec.encode_envelope(epoch, seq, now_ms(), codec.encode_body(points))


def message(seq: int, points: Sequence[Point], gateway: str = "gw-1", project: str = "demo") -> Incoming | Refused:
    """The same, received and decoded."""
    return read(topics.up(project, gateway, Up.READINGS), payload(seq, points), now_ms())


def hourly(device: str, first_hour: int, values: Sequence[int], quality: int = 0) -> list[Point]:
    """Readings of the billed register on the hour."""
    return [
        Point(device, CHANNEL, START_MS + (first_hour + n) * HOUR_MS, value, quality) for n, value in enumerate(values)
    ]
