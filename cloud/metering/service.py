"""Rules of meters, readings and usage, as other features and people use them."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

from cloud.devices.inbox import UnclaimedPlace
from cloud.devices.records import InboxFilter
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.kit.periods import Period
from cloud.metering import repository
from cloud.metering.assets.ratings import check_bounds
from cloud.metering.consumption import series
from cloud.metering.derivation.usage import TOLERANCE_S
from cloud.metering.periods import advances
from cloud.metering.periods.advances import Counter
from cloud.metering.readings import intake
from cloud.metering.readings.intake import Batch, Claimed
from cloud.metering.records import (
    MAIN_CHANNEL,
    BoundaryReading,
    Medium,
    Meter,
    MeterException,
    MeterFilter,
    NewMeter,
    Reading,
    Step,
    StoreResult,
    UsageBar,
    UsageTotal,
)
from cloud.metering.rollups import reading as rollups
from cloud.metering.rollups.reading import NOTHING
from gateway.contract.quantities import BY_NUMBER, Quantity

DERIVE_USAGE = "metering.derive-usage"
"""Job kind: derive usage of all meters whose readings changed."""

ANY_METER = MeterFilter()

UsageKey = tuple[int, int, datetime, datetime]
"""Meter, channel, start and end."""

BOUNDARY_TOLERANCE = timedelta(seconds=TOLERANCE_S)
"""How long after an instant a reading still counts as taken at it."""


async def create_meter(
    conn: Conn,
    project_id: int,
    code: str,
    medium: Medium,
    unit_id: int | None,
    modulus: int,
    max_per_hour: int,
    installed_on: date,
    multiplier: Decimal = Decimal(1),
    *,
    parent_id: int | None = None,
    serial: str = "",
    place: str = "",
) -> Meter:
    """Registers a meter. `modulus` and `max_per_hour` in the base unit of the main channel, before the multiplier."""
    new = NewMeter(code, medium, unit_id, modulus, max_per_hour, installed_on, multiplier, parent_id, serial, place)
    return (await create_meters(conn, project_id, [new]))[0]


async def create_meters(conn: Conn, project_id: int, meters: Sequence[NewMeter]) -> list[Meter]:
    """Registers many meters of a project in one statement; the answer is in the same order."""
    for meter in meters:
        check_bounds(meter.modulus, meter.max_per_hour, meter.multiplier)
    return await repository.insert_meters(conn, project_id, meters)


async def get_meter(conn: Conn, meter_id: int) -> Meter:
    """Raises NotFound."""
    found = await repository.meter(conn, meter_id)
    if found is None:
        raise NotFound("no-meter", f"there is no meter {meter_id}", field="meter_id")
    return found


async def meter_by_code(conn: Conn, project_id: int, code: str) -> Meter | None:
    """The meter of a project with this code; None where there is none."""
    return await repository.meter_by_code(conn, project_id, code)


async def meters_by_id(conn: Conn, meter_ids: Iterable[int]) -> dict[int, Meter]:
    """Those of these meters that exist and may be seen."""
    return await repository.meters_by_id(conn, sorted(set(meter_ids)))


async def list_meters(
    conn: Conn, page: PageRequest, project_id: int | None = None, wanted: MeterFilter = ANY_METER
) -> Page[Meter]:
    """Meters by id."""
    return await repository.meters(conn, page, project_id, wanted)


async def meters_of_units(conn: Conn, unit_ids: Iterable[int]) -> list[Meter]:
    """Meters of these units, by id."""
    return await repository.meters_of_units(conn, sorted(set(unit_ids)))


def main_channel(medium: Medium) -> Quantity:
    """The register of a medium that is billed."""
    return MAIN_CHANNEL[medium]


async def list_readings(
    conn: Conn, page: PageRequest, meter_id: int, channel: int, start: datetime, end: datetime
) -> Page[Reading]:
    """Readings of one channel in [start, end), newest first."""
    return await repository.readings(conn, page, meter_id, channel, start, end)


async def latest_readings(conn: Conn, meter_ids: Iterable[int]) -> dict[int, list[Reading]]:
    """The newest reading of every channel, by meter; meters without readings are absent."""
    found: dict[int, list[Reading]] = {}
    for reading in await repository.latest(conn, sorted(set(meter_ids)), sorted(BY_NUMBER)):
        found.setdefault(reading.meter_id, []).append(reading)
    return found


async def boundary_readings(
    conn: Conn, wanted: Sequence[tuple[int, datetime]], tolerance: timedelta = BOUNDARY_TOLERANCE
) -> dict[tuple[int, datetime], BoundaryReading]:
    """For each (meter id, instant) the first good reading of the main channel at or after the instant.

    The rule by which usage chooses its boundaries, edits of staff included: usage between two instants that both have
    one is what `counters` tells of the two. Pairs without a reading within `tolerance` are absent.
    """
    meters = await meters_by_id(conn, (meter_id for meter_id, _ in wanted))
    rows = [(meter_id, meters[meter_id].main_channel.number, at) for meter_id, at in wanted if meter_id in meters]
    found = await repository.boundaries(conn, rows, int(tolerance.total_seconds()))
    return {(meter_id, at): found[(meter_id, at)] for meter_id, _, at in rows if (meter_id, at) in found}


async def usage_series(
    conn: Conn, meter_id: int, period: Period, step: Step, zone: ZoneInfo, channel: int | None = None
) -> list[UsageBar]:
    """Bars of the meter's usage in steps of `zone`, its project's; the main channel unless another is named.

    A stretch too long to be shaped, over an edge of a bar, makes the bars it touches unknown, not 0; a longer bar that
    holds the whole stretch is known. So is one of estimated rows, and says so. Raises NotFound.
    """
    if channel is None:
        channel = (await get_meter(conn, meter_id)).main_channel.number
    instants = series.edges(period, step, zone)
    found = (await rollups.member_bars(conn, {meter_id: [meter_id]}, channel, instants, step))[meter_id]
    bars = (found.get(nth, NOTHING) for nth in range(len(instants) - 1))
    return [
        UsageBar(start, end, bar.quantity, bar.broken, bar.estimated_s > 0)
        for (start, end), bar in zip(pairwise(instants), bars, strict=True)
    ]


async def usage_between(conn: Conn, meter_id: int, channel: int, start: datetime, end: datetime) -> UsageTotal:
    """Usage of the rows that lie inside [start, end]; `complete` says whether they cover it exactly."""
    return (await repository.totals(conn, [(meter_id, channel, start, end)]))[0]


async def usage_between_many(conn: Conn, wanted: Iterable[UsageKey]) -> dict[UsageKey, UsageTotal]:
    """`usage_between` for many at once, in one statement."""
    keys = list(dict.fromkeys(wanted))
    return dict(zip(keys, await repository.totals(conn, keys), strict=True)) if keys else {}


async def counters(conn: Conn, meter_ids: Sequence[int], start: datetime, end: datetime) -> dict[int, Counter]:
    """By meter, what tells the advance of its main channel between two boundary readings from `start` to `end`."""
    return await advances.counters(conn, meter_ids, start, end, BOUNDARY_TOLERANCE)


async def register_counters(
    conn: Conn, wanted: Sequence[tuple[int, int]], start: datetime, end: datetime
) -> dict[tuple[int, int], Counter]:
    """`counters` of any channels, by (meter, channel)."""
    return await advances.channel_counters(conn, wanted, start, end, BOUNDARY_TOLERANCE)


async def register_readings(
    conn: Conn, wanted: Iterable[tuple[int, int, datetime]]
) -> dict[tuple[int, int, datetime], BoundaryReading]:
    """`boundary_readings` of any channels: by (meter, channel, instant)."""
    by_channel: dict[int, list[tuple[int, int, datetime]]] = {}
    for meter_id, channel, at in sorted(set(wanted)):
        by_channel.setdefault(channel, []).append((meter_id, channel, at))
    return {
        (meter_id, channel, at): reading
        for channel, rows in by_channel.items()
        for (meter_id, at), reading in (
            await repository.boundaries(conn, rows, int(BOUNDARY_TOLERANCE.total_seconds()))
        ).items()
    }


async def consumption(conn: Conn, project_id: int, medium: Medium, start: datetime, end: datetime) -> int:
    """Usage of a project between two instants in the medium's base unit; sub-meters are not added to their master."""
    return await repository.consumption(conn, project_id, medium, MAIN_CHANNEL[medium].number, start, end)


async def list_exceptions(
    conn: Conn, project_id: int | None = None, meter_id: int | None = None, limit: int = 100
) -> list[MeterException]:
    """Findings of the validation, newest first."""
    return await repository.exceptions(conn, project_id, meter_id, limit)


async def store_points(conn: Conn, batches: Sequence[Batch], *, expect_new: bool = False) -> StoreResult:
    """Stores points from the wire; see `intake.store_points`."""
    return await intake.store_points(conn, batches, expect_new=expect_new)


async def claim_readings(conn: Conn, wanted: InboxFilter, after: UnclaimedPlace, limit: int) -> Claimed:
    """Tries unclaimed readings of a project again; see `intake.claim_readings`."""
    return await intake.claim_readings(conn, wanted, after, limit)


async def ask_for_usage(conn: Conn) -> None:
    """Asks for usage to be derived soon, unless that is asked already. Staff may ask too.

    A run that is under way may have passed a meter before it changed: then the one of the next minute takes it.
    """
    await conn.execute("SELECT gm.ask_for_usage()")
