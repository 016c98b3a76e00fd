"""Load curves of dwellings as cumulative registers: pure, seeded, exact integers, the same for history and live.

Time is cut into slots of half an hour from `ORIGIN` on. A slot's amount (Wh or mL) is a product of integers: the
dwelling's size, the daily shape of its medium, weekend, season and seeded noise. A register is its starting value
plus all slots before, plus the elapsed share of the running slot, rounded down.
"""

import hashlib
import math
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

SLOT_S: Final = 1_800
ORIGIN: Final = datetime(2024, 1, 1, tzinfo=UTC)
_ORIGIN_S: Final = int(ORIGIN.timestamp())

TOTAL: Final = {"electricity": "energy_import_total", "water": "volume_total", "heat": "heat_total"}
"""The register that counts everything, by medium."""

PERIODS: Final = ("energy_import_peak", "energy_import_flat", "energy_import_valley")
"""Period registers of electricity in the order of `period_of_hour`; they add up to the total exactly."""

_PEAK, _FLAT, _VALLEY = 0, 1, 2
_PERIOD_OF_HOUR: Final = np.array(
    [_VALLEY] * 7 + [_FLAT] + [_PEAK] * 3 + [_FLAT] * 7 + [_PEAK] * 3 + [_FLAT] * 2 + [_VALLEY], dtype=np.int64
)
"""Local hours: valley 23–7, peak 8–11 and 18–21, flat otherwise."""

_HOURLY: Final = {
    # 1/1000 of the mean, hour by hour; the sums are close to 24,000
    "electricity": (480, 420, 390, 380, 390, 520, 900, 1250, 1050, 850, 820, 950,
                    1150, 950, 850, 850, 950, 1300, 1750, 2000, 1950, 1650, 1200, 950),
    "water": (120, 60, 40, 40, 80, 450, 1900, 2300, 1500, 1000, 850, 1100,
              1200, 800, 650, 650, 850, 1300, 1800, 1900, 1800, 1600, 1200, 610),
    "heat": (700, 650, 650, 700, 850, 1250, 1600, 1550, 1200, 950, 850, 800,
             800, 800, 850, 900, 1050, 1250, 1400, 1400, 1300, 1100, 850, 750),
}  # fmt: skip
_WEEKEND: Final = {"electricity": 1_180, "water": 1_250, "heat": 1_080}
_BASE: Final = {"electricity": (70, 260), "water": (2_500, 12_000), "heat": (250, 900)}
"""Smallest and largest mean of a slot, Wh or mL."""
_START: Final = {
    "electricity": (800_000, 20_000_000), "water": (20_000_000, 500_000_000), "heat": (2_000_000, 60_000_000),
}  # fmt: skip


def cumulative(
    seed: int, device: str, medium: str, at: datetime | Int64, tz: ZoneInfo, channel: str | None = None
) -> Int64:
    """Register values of `device` at `at` in Wh or mL, shaped as `at` (zero-dimensional for one moment).

    `medium` is electricity, water or heat, `at` a moment or an array of seconds since 1970, `channel` a register of the
    medium (default: its total). Monotone in time. Raises ValueError before ORIGIN.
    """
    seconds = np.asarray(int(at.timestamp()) if isinstance(at, datetime) else at, dtype=np.int64)
    if seconds.size == 0:
        return seconds.copy()
    since = seconds - _ORIGIN_S
    if int(since.min()) < 0:
        raise ValueError(f"curves begin on {ORIGIN:%Y-%m-%d}")
    chosen = TOTAL[medium] if channel is None else channel
    amounts = slot_amounts(seed, device, medium, tz, int(since.max()) // SLOT_S + 1, chosen)
    before = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(amounts)))
    slot = since // SLOT_S
    running = amounts[slot] * (since % SLOT_S) // SLOT_S
    return np.asarray(starting_value(seed, device, medium, chosen) + before[slot] + running, dtype=np.int64)


def slot_amounts(seed: int, device: str, medium: str, tz: ZoneInfo, slots: int, channel: str) -> Int64:
    """What the first `slots` slots since ORIGIN add to a register, Wh or mL."""
    shape, period = _shape(medium, tz, _year_of_slot(slots - 1))
    key = _key(seed, device, medium)
    low, high = _BASE[medium]
    base = low + key % (high - low)
    noise = 400 + _noise(key, slots) % 1_200
    day = 700 + np.repeat(_noise(key ^ 0x9E37, slots // 48 + 1) % 600, 48)[:slots]
    amounts = base * shape[:slots] // 1_000 * noise // 1_000 * day // 1_000
    if channel in PERIODS:
        return np.where(period[:slots] == PERIODS.index(channel), amounts, 0)
    return amounts


def starting_value(seed: int, device: str, medium: str, channel: str) -> int:
    """What the register showed at ORIGIN; period registers add up to the total."""
    low, high = _START[medium]
    start = low + _key(seed, device, f"{medium}/start") % (high - low)
    peak, valley = start * 45 // 100, start * 20 // 100
    shares = dict(zip(PERIODS, (peak, start - peak - valley, valley), strict=True))
    return shares.get(channel, start)


def slot_of(at_s: int) -> int:
    """Number of the slot since ORIGIN that second `at_s` since 1970 falls into."""
    return (at_s - _ORIGIN_S) // SLOT_S


def elapsed_in_slot(at_s: int) -> int:
    """Seconds since the running slot began."""
    return (at_s - _ORIGIN_S) % SLOT_S


def _key(seed: int, device: str, salt: str) -> int:
    digest = hashlib.blake2b(f"{seed}/{device}/{salt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _noise(key: int, count: int) -> Int64:
    """Numbers of 31 bits by the splitmix64 sequence of `key`: the n-th depends on nothing but key and n."""
    with np.errstate(over="ignore"):
        state = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (state >> np.uint64(33)).astype(np.int64)


def _year_of_slot(slot: int) -> int:
    return datetime.fromtimestamp(_ORIGIN_S + slot * SLOT_S, UTC).year


@lru_cache(maxsize=16)
def _shape(medium: str, tz: ZoneInfo, last_year: int) -> tuple[Int64, Int64]:
    """(weight in 1/1000, period) of every slot from ORIGIN to the end of `last_year` UTC."""
    end = int(datetime(last_year + 1, 1, 1, tzinfo=UTC).timestamp())
    local = [datetime.fromtimestamp(second, tz) for second in range(_ORIGIN_S, end, SLOT_S)]
    hour = np.array([moment.hour for moment in local], dtype=np.int64)
    weekend = np.array([moment.weekday() >= 5 for moment in local], dtype=np.bool_)
    day_of_year = np.array([moment.timetuple().tm_yday for moment in local], dtype=np.int64)
    season = np.array([_season(medium, day) for day in range(367)], dtype=np.int64)[day_of_year]
    weight = np.array(_HOURLY[medium], dtype=np.int64)[hour] * season // 1_000
    weight = np.where(weekend, weight * _WEEKEND[medium] // 1_000, weight)
    return weight, _PERIOD_OF_HOUR[hour]


def _season(medium: str, day: int) -> int:
    """1/1000: electricity peaks in mid-winter (heating) and mid-summer (cooling), water in summer, heat in winter."""
    phase = 2 * math.pi * (day - 20) / 365
    if medium == "electricity":
        return round(1_000 + 250 * math.cos(2 * phase) + 50 * math.cos(phase))
    return round(1_000 + (850 if medium == "heat" else -150) * math.cos(phase))
