"""Meters that replay what real households used: registers of recorded interval energy, with its natural gaps."""

import csv
import gzip
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from gateway.templates.modbus import ModbusTemplate
from simulators.modbus import curves
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.meter import DEVICE_FAILURE, Refused, SimulatedMeter

INTERVAL_S: Final = 1_800
"""The recordings are half-hourly."""

_WH: Final = 1_000


@dataclass(frozen=True, slots=True)
class Recording:
    """Energy in Wh of intervals of INTERVAL_S that begin at `starts_s` (seconds since 1970, increasing)."""

    starts_s: Sequence[int]
    wh: Sequence[int]

    def shifted(self, seconds: int) -> "Recording":
        """The same, so much later."""
        return Recording([start + seconds for start in self.starts_s], self.wh)

    @property
    def ends(self) -> tuple[int, int]:
        """When it begins and ends."""
        return self.starts_s[0], self.starts_s[-1] + INTERVAL_S


def read_recording(path: Path, meter: str, zone: ZoneInfo) -> Recording:
    """The rows of `meter` in a CSV file, gzipped or not: columns meter, reading_datetime (local), general_supply_kwh.

    Of two rows for one moment (the clock-change hour was moved by its publisher) the first stays. Raises ValueError
    where the file has no row of the meter, or an amount that is no whole number of Wh.
    """
    found: dict[int, int] = {}
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["meter"] == meter:
                local = datetime.fromisoformat(row["reading_datetime"]).replace(tzinfo=zone)
                amount = Decimal(row["general_supply_kwh"]) * _WH
                if amount != int(amount) or amount < 0:
                    raise ValueError(f"{path}: {row['general_supply_kwh']} kWh of {meter} is no whole number of Wh")
                found.setdefault(int(local.astimezone(UTC).timestamp()), int(amount))
    if not found:
        raise ValueError(f"{path}: no rows of meter {meter}")
    starts = sorted(found)
    return Recording(starts, [found[start] for start in starts])


class RecordedDwelling(Dwelling):
    """A household whose main register runs as it was recorded; other registers stand at 0."""

    def __init__(self, device: str, medium: str, tz: ZoneInfo, recording: Recording, opening: int = 0) -> None:
        """`opening`: where the register stands when the recording begins, in Wh."""
        super().__init__(0, device, medium, tz)
        self._total = curves.TOTAL[medium]
        self._starts, self._wh = recording.starts_s, recording.wh
        self._sums = list(accumulate(recording.wh, initial=opening))

    def register(self, channel: str, at_s: int) -> int:
        """Linear inside an interval; it stands still in a gap, for nobody knows what was used there."""
        if channel != self._total:
            return 0
        index = bisect_right(self._starts, at_s) - 1
        if index < 0:
            return self._sums[0]
        elapsed = min(at_s - self._starts[index], INTERVAL_S)
        return self._sums[index] + self._wh[index] * elapsed // INTERVAL_S

    def rate(self, at_s: int) -> int:
        """Mean power of the running interval in W, 0 in a gap."""
        index = bisect_right(self._starts, at_s) - 1
        running = index >= 0 and at_s - self._starts[index] < INTERVAL_S
        return self._wh[index] * 3_600 // INTERVAL_S if running else 0

    def answers(self, at_s: int) -> bool:
        """Whether the meter was heard at this time: inside an interval, or at the end of one."""
        index = bisect_right(self._starts, at_s) - 1
        return index >= 0 and at_s - self._starts[index] <= INTERVAL_S


class RecordedMeter(SimulatedMeter):
    """Refuses every read while its recording has a gap, as a meter does that has lost its supply of data."""

    def __init__(
        self, device: str, template: ModbusTemplate, dwelling: RecordedDwelling, now_ms: Callable[[], int]
    ) -> None:
        super().__init__(device, template, dwelling, now_ms)
        self._recorded = dwelling

    def check(self, function: int, address: int, count: int) -> None:
        """Raises Refused, also in a gap of the recording."""
        super().check(function, address, count)
        if not self._recorded.answers(self._now_ms() // 1_000):
            raise Refused(DEVICE_FAILURE)
