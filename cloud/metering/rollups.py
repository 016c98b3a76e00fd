"""Usage by hour, day and month without adding up rows: of a meter, of a building, of a project.

Days and months are those of the project's time zone. A row of usage counts in the hour, day or month that holds it
whole; one that crosses an edge of a bar (a gap too long to be shaped) counts in no bar that it crosses.

Project totals and, on plain PostgreSQL, days and months follow every change of a usage row in its own transaction (see
migration 0012). With TimescaleDB days and months are continuous aggregates, refreshed within seconds after the change.
Bills never read what is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.kit.jobs import enqueue
from cloud.kit.periods import Period
from cloud.metering import rollups_sql as sql
from cloud.metering.records import MAIN_CHANNEL, ChangedSpan, Medium, Step
from cloud.metering.series import edges

REFRESH_ROLL_UPS = "metering.refresh-roll-ups"
"""Job kind: fold pending totals; with TimescaleDB refresh the aggregates of the spans that `refresh` queued."""


@dataclass(frozen=True, slots=True)
class RolledUp:
    """Usage from `start` to `end` (UTC) in the base unit of the channel, multiplier applied; None: no rows at all.

    `rows` usage rows lie inside and cover `covered_s` seconds (of all meters together), `estimated_s` of them by an
    estimated shape.
    """

    start: datetime
    end: datetime
    quantity: int | None = None
    rows: int = 0
    covered_s: int = 0
    estimated_s: int = 0


@dataclass(frozen=True, slots=True)
class ProjectUsage:
    """Usage of a project from `start` to `end` (UTC) in the medium's base unit; None where there are no rows.

    `top` adds the meters that have no master above them: what the project drew. `all_meters` adds every meter.
    """

    start: datetime
    end: datetime
    top: int | None = None
    all_meters: int | None = None


async def refresh(conn: Conn, spans: Sequence[ChangedSpan]) -> None:
    """Takes note of changed usage, in the caller's transaction; what must happen outside of it is left to the job."""
    if not spans:
        return
    query = {
        "from": [span.from_at for span in spans],
        "until": [span.until_at for span in spans],
    }
    await conn.execute(sql.QUEUE_STALE, query)
    await enqueue(conn, REFRESH_ROLL_UPS, {}, dedupe_key="all")


async def project_usage(
    conn: Conn, project_id: int, medium: Medium, period: Period, step: Step, zone: ZoneInfo
) -> list[ProjectUsage]:
    """Every bar of `period`, by time; `zone` is the project's. Staff only: residents get bars without a value."""
    bounds = edges(period, step, zone)
    query = {
        "project_id": project_id,
        "medium": medium,
        "channel": MAIN_CHANNEL[medium].number,
        "start": bounds[0],
        "end": bounds[-1],
        "zone": zone.key,
        "step": step,
        "reach": sql.REACH[step],
    }
    rows = await (await conn.execute(sql.PROJECT_HOURS if step == "hour" else sql.PROJECT_STEPS, query)).fetchall()
    found = {row["start"]: row for row in rows}
    return [
        ProjectUsage(start, end, found[start]["top"], found[start]["all_meters"])
        if start in found
        else ProjectUsage(start, end)
        for start, end in pairwise(bounds)
    ]


async def building_usage(
    conn: Conn, building_id: int, medium: Medium, period: Period, step: Step, zone: ZoneInfo
) -> list[RolledUp]:
    """Every bar of `period` over the meters of the building's units; `zone` is its project's."""
    rows = await (await conn.execute(sql.BUILDING_METERS, {"building_id": building_id, "medium": medium})).fetchall()
    return await meters_usage(conn, [row["id"] for row in rows], MAIN_CHANNEL[medium].number, period, step, zone)


async def meter_usage_by_day(conn: Conn, meter_id: int, channel: int, period: Period, zone: ZoneInfo) -> list[RolledUp]:
    """Every local day of `period`; `zone` is the project's."""
    return await meters_usage(conn, [meter_id], channel, period, "day", zone)


async def meters_usage(
    conn: Conn, meter_ids: Sequence[int], channel: int, period: Period, step: Step, zone: ZoneInfo
) -> list[RolledUp]:
    """Every bar of `period` over these meters of one project together; `zone` is the project's."""
    bounds = edges(period, step, zone)
    query = {
        "meters": list(meter_ids),
        "channel": channel,
        "start": bounds[0],
        "end": bounds[-1],
        "zone": zone.key,
    }
    rows = await (await conn.execute(sql.METERS_BY[step], query)).fetchall()
    found = {row.pop("start"): row for row in rows}
    return [RolledUp(start, end, **found.get(start, {})) for start, end in pairwise(bounds)]
