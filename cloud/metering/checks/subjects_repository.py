"""What meters are judged by: their billed registers, and thresholds of class, project and meter put together."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, LiteralString

from cloud.kit.columns import Int8Column
from cloud.kit.db import Conn
from cloud.metering.records import Medium
from cloud.metering.validation.subjects import Subject
from cloud.metering.validation.thresholds import Thresholds, class_of, merged, thresholds_of

# The latest register by the index, meter by meter: the view of them would go through all registers each time.
_SUBJECTS: LiteralString = """
    SELECT m.id, m.project_id, m.medium, m.class AS meter_class, m.interval_s, m.unit_id, r.resolution,
           (r.multiplier * 10000)::bigint AS multiplier_e4, own.settings AS of_meter
    FROM meter m
    CROSS JOIN LATERAL (SELECT resolution, multiplier FROM meter_register
                        WHERE meter_id = m.id ORDER BY lower(valid) DESC LIMIT 1) AS r
    LEFT JOIN validation_threshold own ON own.meter_id = m.id
    WHERE m.project_id = %(project_id)s AND m.id = ANY (%(ids)s) ORDER BY m.id
"""
_METERS: LiteralString = """
    SELECT m.id, m.project_id, m.medium, m.class AS meter_class, own.settings AS of_meter
    FROM meter m LEFT JOIN validation_threshold own ON own.meter_id = m.id WHERE m.id = ANY (%(ids)s)
"""
_OF_CLASSES: LiteralString = """
    SELECT project_id, class, settings FROM validation_threshold
    WHERE project_id = ANY (%(projects)s) AND class IS NOT NULL
"""

_Row = Mapping[str, Any]


async def load_subjects(conn: Conn, project_id: int, meter_ids: Collection[int]) -> list[Subject]:
    """The billed registers of these meters with the thresholds that count for them, by meter id."""
    query = {"project_id": project_id, "ids": Int8Column.of(meter_ids)}
    rows = await (await conn.execute(_SUBJECTS, query)).fetchall()
    thresholds = await _thresholds(conn, rows)
    return [
        Subject(
            project_id, row["id"], row["medium"], row["interval_s"], row["unit_id"], row["resolution"],
            row["multiplier_e4"], thresholds[row["id"]],
        )
        for row in rows
    ]  # fmt: skip


async def load_thresholds(conn: Conn, meter_ids: Collection[int]) -> dict[int, Thresholds]:
    """Thresholds by meter, of whatever projects; meters that are not seen are absent."""
    return await _thresholds(conn, await (await conn.execute(_METERS, {"ids": Int8Column.of(meter_ids)})).fetchall())


async def _thresholds(conn: Conn, rows: Sequence[_Row]) -> dict[int, Thresholds]:
    query = {"projects": sorted({row["project_id"] for row in rows})}
    said = {
        (row["project_id"], row["class"]): row["settings"]
        for row in await (await conn.execute(_OF_CLASSES, query)).fetchall()
    }
    usual: dict[tuple[int, Medium, str], Thresholds] = {}
    found: dict[int, Thresholds] = {}
    for row in rows:
        project_id, medium, meter_class = key = row["project_id"], row["medium"], row["meter_class"]
        if key not in usual:
            of_class = said.get((project_id, class_of(medium, meter_class)))
            usual[key] = thresholds_of(medium, meter_class, of_class)
        own = row["of_meter"]
        found[row["id"]] = merged(usual[key], own) if own else usual[key]
    return found
