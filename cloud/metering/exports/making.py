"""Readings and usage of a place as files of any length: read in batches, each in a short transaction of its own."""

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from cloud.metering import service
from cloud.metering.consumption.selection import (
    MOST_METER_DAYS,
    Bar,
    Grouping,
    UsageGroup,
    bars_of,
    members_of,
    total_of,
)
from cloud.metering.consumption.series import edges
from cloud.metering.exports.table_files import XLSX_ROWS, Column, Format, Row, too_many_for_xlsx, writer_of
from cloud.metering.readings.place_query import Place
from cloud.metering.readings.placed import (
    BATCH_ROWS,
    Connect,
    PlacedReading,
    Wanted,
    batches,
    count_up_to,
    wanted_of,
)
from cloud.metering.records import Step
from cloud.metering.rollups import reading as rollups
from gateway.contract.quantities import Quantity

READING_DAYS: Final = 8_000
USAGE_DAYS: Final[Mapping[Step, int]] = {
    "15min": 1_250,
    "30min": 2_500,
    "hour": 5_000,
    "day": 8_000,
    "month": 8_000,
}
"""Days in one file, by step: some 120,000 bars of a group, whose edges are in memory."""
_METER_DAYS: Final = 20_000
"""What one statement adds up, unless a single bar is more."""
_ALL_BUILDINGS: Final = PageRequest(10_000)


@dataclass(frozen=True, slots=True)
class Export:
    """A table to be written: `name` is that of the file without its ending, times are shown in `zone`."""

    name: str
    columns: Sequence[Column]
    zone: ZoneInfo
    batches: AsyncGenerator[Sequence[Row], None]


@dataclass(frozen=True, slots=True)
class Window:
    """Bars [first, last) of these groups, read by one statement."""

    groups: Sequence[int]
    first: int
    last: int


async def readings_export(conn: Conn, connect: Connect, place: Place, period: Period, form: Format) -> Export:
    """All readings of a register by meter and time. `conn` only finds the meters.

    Raises InvalidInput when `form` cannot hold so many rows.
    """
    wanted = await wanted_of(conn, place.selector, place.channel.number, *period.instants(place.project.zone))
    if form == "xlsx" and await count_up_to(conn, wanted, XLSX_ROWS) > XLSX_ROWS:
        raise too_many_for_xlsx()
    rows = _reading_rows(connect, wanted, place.channel)
    return Export(_name("readings", place, period), _reading_columns(place.channel), place.project.zone, rows)


async def usage_export(
    conn: Conn, connect: Connect, place: Place, period: Period, step: Step, group: Grouping, form: Format
) -> Export:
    """The bars of `selection.usage_of` by group and time. `conn` only finds the meters.

    Raises InvalidInput when a single bar adds up too much, or `form` cannot hold so many rows.
    """
    zone = place.project.zone
    members = await members_of(conn, place.selector, group)
    instants = edges(period, step, zone)
    bars = len(instants) - 1
    rolled_up = (
        group == "total"
        and place.selector.is_project
        and await rollups.project_is_rolled_up(conn, instants, step, zone)
    )
    # How many meters a statement reads for each group: none where their total is there already.
    sizes = {part: 0 if rolled_up else len(meters) for part, meters in members.items()}
    if max(sizes.values(), default=0) * period.days > MOST_METER_DAYS[step] * bars:
        detail = f"expected at most {MOST_METER_DAYS[step]} days of meters in a bar"
        raise InvalidInput("too-much-usage", detail, field="step")
    if form == "xlsx" and len(members) * bars > XLSX_ROWS:
        raise too_many_for_xlsx()
    names = await _group_names(conn, place, group, members)

    async def groups(window: Window) -> list[UsageGroup]:
        piece = instants[window.first : window.last + 1]
        async with connect() as batch:
            if rolled_up:
                return [await total_of(batch, place.selector, place.channel.number, piece, step, zone)]
            asked = {part: members[part] for part in window.groups}
            found = await bars_of(batch, asked, place.channel.number, piece, step)
        return [UsageGroup(part, len(meters), found[part]) for part, meters in asked.items()]

    async def rows() -> AsyncGenerator[Sequence[Row], None]:
        for window in windows(sizes, bars, period.days):
            yield [
                _bar_row(one, names.get(one.id, ""), bar, place.channel)
                for one in await groups(window)
                for bar in one.bars
            ]

    return Export(_name("usage", place, period), _usage_columns(place.channel), zone, rows())


def windows(meters: Mapping[int, int], bars: int, days: int) -> Iterator[Window]:
    """How groups of so many meters and `bars` over `days` are cut, so that no statement reads or gives too much.

    Groups come in order, each whole or cut by time; every bar of every group is in exactly one window.
    """
    packed: list[int] = []
    packed_meters = 0
    for part, count in sorted(meters.items()):
        whole = bars <= BATCH_ROWS and count * days <= _METER_DAYS
        if packed and not (
            whole and (len(packed) + 1) * bars <= BATCH_ROWS and (packed_meters + count) * days <= _METER_DAYS
        ):
            yield Window(packed, 0, bars)
            packed, packed_meters = [], 0
        if whole:
            packed.append(part)
            packed_meters += count
        else:
            length = max(1, min(BATCH_ROWS, _METER_DAYS * bars // (max(count, 1) * days)))
            yield from (Window([part], first, min(first + length, bars)) for first in range(0, bars, length))
    if packed:
        yield Window(packed, 0, bars)


async def written(export: Export, form: Format) -> AsyncGenerator[bytes, None]:
    """The file in parts, as they are made. Closing the generator stops the work and frees all that it holds."""
    writer = writer_of(form, export.columns, export.zone)
    try:
        async with aclosing(export.batches) as found:
            async for rows in found:
                part = await run_in_threadpool(writer.add, rows)
                if part:
                    yield part
        async for part in iterate_in_threadpool(writer.end()):
            yield part
    finally:
        writer.close()


def _reading_columns(channel: Quantity) -> list[Column]:
    return [
        Column("meter", "text"),
        Column("meter_id", "whole"),
        Column("channel", "text"),
        Column("taken_at", "time"),
        Column("value", "decimal", _decimals(channel)),
        Column("unit", "text"),
        Column("flags", "text"),
        Column("edit", "text"),
        Column("edited_value", "decimal", _decimals(channel)),
        Column("edit_version", "whole"),
    ]


async def _reading_rows(connect: Connect, wanted: Wanted, channel: Quantity) -> AsyncGenerator[Sequence[Row], None]:
    async with aclosing(batches(connect, wanted)) as found:
        async for readings in found:
            yield [_reading_row(one, channel) for one in readings]


def _reading_row(one: PlacedReading, channel: Quantity) -> Row:
    return (
        one.meter, one.meter_id, channel.code, one.taken_at, _shown(one.value, channel), channel.display_unit,
        " ".join(one.flags), one.action or "", _shown(one.edited, channel), one.version,
    )  # fmt: skip


def _usage_columns(channel: Quantity) -> list[Column]:
    return [
        Column("id", "whole"),
        Column("name", "text"),
        Column("meters", "whole"),
        Column("channel", "text"),
        Column("start", "time"),
        Column("end", "time"),
        Column("quantity", "decimal", _decimals(channel)),
        Column("unit", "text"),
        Column("quality", "text"),
        Column("complete", "truth"),
    ]


def _bar_row(group: UsageGroup, name: str, bar: Bar, channel: Quantity) -> Row:
    return (
        group.id or None, name, group.meters, channel.code, bar.start, bar.end, _shown(bar.quantity, channel),
        channel.display_unit, bar.quality, bar.complete,
    )  # fmt: skip


def _shown(value: int | None, channel: Quantity) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(channel.display_exponent)


def _decimals(channel: Quantity) -> int:
    return max(0, -channel.display_exponent)


def _name(what: str, place: Place, period: Period) -> str:
    chosen = place.selector
    narrowed = {"meter": chosen.meter_id, "unit": chosen.unit_id, "building": chosen.building_id}
    kind, number = next(((kind, one) for kind, one in narrowed.items() if one), ("project", chosen.project_id))
    return f"{what}-{kind}-{number}-{period.start}-{period.end}"


async def _group_names(conn: Conn, place: Place, group: Grouping, parts: Mapping[int, object]) -> dict[int, str]:
    """What people call each group."""
    if group == "meter":
        return {meter.id: meter.code for meter in (await service.meters_by_id(conn, parts)).values()}
    if group == "unit":
        return {unit.id: unit.label for unit in (await estate.units_by_id(conn, list(parts))).values()}
    if group == "building":
        found = await estate.list_buildings(conn, _ALL_BUILDINGS, EstateFilter(project_id=place.project.id))
        return {building.id: building.code for building in found.items}
    return {0: await _place_name(conn, place)}


async def _place_name(conn: Conn, place: Place) -> str:
    chosen = place.selector
    if chosen.meter_id is not None:
        return (await service.get_meter(conn, chosen.meter_id)).code
    if chosen.unit_id is not None:
        return (await estate.units_by_id(conn, [chosen.unit_id]))[chosen.unit_id].label
    if chosen.building_id is not None:
        return (await estate.get_building(conn, chosen.building_id)).code
    return place.project.code
