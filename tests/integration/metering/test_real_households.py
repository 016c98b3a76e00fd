"""Three real households as Modbus meters: their registers over the wire into usage, with gaps, a rollover and a reset.

Every reading goes over a real Modbus TCP socket, through the gateway's driver, the wire contract and ingest; only the
clock is that of the recording.
"""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from gateway.contract.messages import Point
from gateway.drivers.base import Group, ReadsMeter
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import line_with_meters
from simulators.modbus.recorded import INTERVAL_S, RecordedDwelling, RecordedMeter, Recording, read_recording
from simulators.modbus.server import MeterLine
from tests.integration.metering.site import CHANNEL, make_site, message
from tests.integration.metering.test_derivation import derive, table
from tests.templates import LIBRARY, modbus

SYDNEY: Final = ZoneInfo("Australia/Sydney")
HOUSEHOLDS: Final = Path(__file__).parents[2] / "data" / "electric" / "households.csv"
TEMPLATE: Final = "gatemeter-demo-electricity"
DEVICES: Final = {"m1": ("E05", 0), "m2": ("E07", 999_990_000), "m3": ("E09", 5_000_000)}
"""Household and opening register: the second one passes the end of its nine digits."""
RESET_AFTER: Final = 100
"""So many readings of m3 are right, then its register shows 0 once."""
DAY_MS: Final = 86_400_000


class Replay:
    """The recordings behind one Modbus TCP line, read at every half hour of theirs."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.recordings = {device: read_recording(HOUSEHOLDS, name, SYDNEY) for device, (name, _) in DEVICES.items()}
        self.meters = {
            device: RecordedMeter(
                device,
                modbus(TEMPLATE),
                RecordedDwelling(device, "electricity", SYDNEY, recording, DEVICES[device][1]),
                lambda: self.now_ms,
            )
            for device, recording in self.recordings.items()
        }
        self.unanswered = 0

    async def readings(self) -> list[Point]:
        line = MeterLine("line", dict(enumerate(self.meters.values(), start=1)))
        await line.start("127.0.0.1", 0)
        devices = tuple(
            DeviceSettings(id=device, template=TEMPLATE, unit_id=unit)
            for unit, device in enumerate(self.meters, start=1)
        )
        wire, readers = line_with_meters(
            ModbusTcpLineSettings(
                name="line", protocol="modbus-tcp", host="127.0.0.1", port=line.port, timeout_s=60, devices=devices
            ),
            LIBRARY,
        )
        try:
            return [point for reader in readers for point in await self._of(reader)]
        finally:
            wire.close()
            await line.stop()

    async def _of(self, reader: ReadsMeter) -> list[Point]:
        first, end = self.recordings[reader.device].ends
        points: list[Point] = []
        for nth, at_s in enumerate(range(first, end + 1, INTERVAL_S)):
            self.now_ms = at_s * 1_000
            forced = {"energy_import_total": 0} if reader.device == "m3" and nth == RESET_AFTER else {}
            self.meters[reader.device].overrides = dict(forced)
            outcome = await reader.read(frozenset({Group.BILLING}), lambda: self.now_ms)
            self.unanswered += not outcome.answers
            points += [
                Point(reader.device, reading.channel, taken_at, reading.value, reading.quality)
                for taken_at, readings in outcome.answers
                for reading in readings
                if reading.channel == CHANNEL
            ]
        return points


def gaps_of(recording: Recording) -> list[tuple[int, int]]:
    """From the last reading before a gap to the first after it, in seconds."""
    return [(a + INTERVAL_S, b) for a, b in pairwise(recording.starts_s) if b - a > INTERVAL_S]


async def stored(db: Database, meter_id: int) -> list[dict[str, Any]]:
    return await table(
        db, f"SELECT start, length_s, quantity, method FROM store.usage WHERE meter_id = {meter_id} ORDER BY start"
    )


async def test_real_households_from_the_wire_to_usage(worker_db: Database, ingest_db: Database) -> None:
    replay = Replay()
    points = await replay.readings()
    missing = sum(
        (end - start) // INTERVAL_S - 1 for recording in replay.recordings.values() for start, end in gaps_of(recording)
    )
    assert replay.unanswered == missing > 300
    site = await make_site(worker_db, zone="Australia/Sydney")
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE meter SET interval_s = 1800, installed_on = '2012-01-01'")
        await conn.execute("UPDATE meter_register SET valid = tstzrange('2012-01-01', NULL)")
        await conn.execute("UPDATE device_binding SET valid = tstzrange('2012-01-01', NULL)")
    for start in range(0, len(points), 500):
        await Writer(ingest_db).store([message(1 + start, points[start : start + 500])])
    await derive(worker_db)

    for meter_id, (device, recording) in zip(site.meters, replay.recordings.items(), strict=True):
        rows = await stored(worker_db, meter_id)
        # Exact to the watt-hour over the whole life, over gaps, the rollover and the reading of 0.
        assert sum(row["quantity"] for row in rows) == sum(recording.wh), device
        assert {row["length_s"] for row in rows} == {INTERVAL_S}
        by_start = {int(row["start"].timestamp()): row for row in rows}
        hidden = {recording.starts_s[RESET_AFTER - 1], recording.starts_s[RESET_AFTER]} if device == "m3" else set()
        assert all(
            by_start[start]["quantity"] == wh
            for start, wh in zip(recording.starts_s, recording.wh, strict=True)
            if start not in hidden
        )
        for start, end in gaps_of(recording):
            inside = [by_start[at] for at in range(start, end, INTERVAL_S)]
            assert all(row["method"] >= 3 for row in inside), "a gap is shown as an estimate"

    found = await table(worker_db, "SELECT meter_id, rule, from_at, until_at, found FROM meter_exception ORDER BY 1, 3")
    gaps = [(row["meter_id"], row["from_at"], row["until_at"]) for row in found if row["rule"] == "gap"]
    for start, end in gaps_of(replay.recordings["m1"]):
        assert (site.meters[0], datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)) in gaps
    backward = [(row["meter_id"], row["found"]) for row in found if row["rule"] == "backward"]
    assert backward == [(site.meters[2], 0)]
    rollovers = await table(
        worker_db, f"SELECT count(*) AS n FROM store.usage WHERE meter_id = {site.meters[1]} AND method = 1"
    )
    assert rollovers[0]["n"] == 1
