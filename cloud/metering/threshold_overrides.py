"""Thresholds that differ from those of the class: for all meters of a class in a project, or for one meter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.metering import service, threshold_changes
from cloud.metering.validation.thresholds import CLASSES, Thresholds, class_of, merged

_OF_PROJECT: LiteralString = """
    SELECT class, settings FROM validation_threshold WHERE project_id = %(project_id)s AND class IS NOT NULL
"""
_OF_METER: LiteralString = "SELECT settings FROM validation_threshold WHERE meter_id = %(meter_id)s"
_KEEP: LiteralString = """
    INSERT INTO validation_threshold (project_id, class, meter_id, settings)
    VALUES (%(project_id)s, %(class)s, %(meter_id)s, %(settings)s)
    ON CONFLICT (project_id, class, meter_id) DO UPDATE SET settings = excluded.settings
"""
_FORGET: LiteralString = """
    DELETE FROM validation_threshold WHERE project_id = %(project_id)s AND class IS NOT DISTINCT FROM %(class)s
      AND meter_id IS NOT DISTINCT FROM %(meter_id)s
"""


@dataclass(frozen=True, slots=True)
class Override:
    """What is said about a class or a meter, and what counts with it."""

    meter_class: str
    meter_id: int | None
    settings: Mapping[str, Any]
    in_force: Thresholds


async def of_project(conn: Conn, project_id: int) -> list[Override]:
    """Every class with what the project says about it."""
    rows = await (await conn.execute(_OF_PROJECT, {"project_id": project_id})).fetchall()
    said = {row["class"]: row["settings"] for row in rows}
    return [Override(name, None, said.get(name, {}), merged(CLASSES[name], said.get(name, {}))) for name in CLASSES]


async def of_meter(conn: Conn, meter_id: int) -> Override:
    """What is said about one meter. Raises NotFound."""
    meter = await service.get_meter(conn, meter_id)
    base = await _base(conn, meter.project_id, class_of(meter.medium, meter.meter_class))
    row = await (await conn.execute(_OF_METER, {"meter_id": meter_id})).fetchone()
    settings = {} if row is None else row["settings"]
    return Override(base.meter_class, meter_id, settings, merged(base.in_force, settings))


async def set_of_class(conn: Conn, project_id: int, meter_class: str, settings: Mapping[str, Any]) -> Override:
    """Says what differs for a class in a project; nothing: as usual. Raises InvalidInput."""
    if meter_class not in CLASSES:
        raise InvalidInput("unknown-class", f"expected one of {', '.join(CLASSES)}", field="meter_class")
    in_force = merged(CLASSES[meter_class], settings)
    before = await _base(conn, project_id, meter_class)
    await _write(conn, {"project_id": project_id, "class": meter_class, "meter_id": None}, settings)
    await threshold_changes.note(conn, project_id, before.in_force, in_force, meter_class=meter_class)
    return Override(meter_class, None, settings, in_force)


async def set_of_meter(conn: Conn, meter_id: int, settings: Mapping[str, Any]) -> Override:
    """Says what differs for one meter; nothing: as its class. Raises NotFound, InvalidInput."""
    meter = await service.get_meter(conn, meter_id)
    base = await _base(conn, meter.project_id, class_of(meter.medium, meter.meter_class))
    before, in_force = await of_meter(conn, meter_id), merged(base.in_force, settings)
    await _write(conn, {"project_id": meter.project_id, "class": None, "meter_id": meter_id}, settings)
    await threshold_changes.note(conn, meter.project_id, before.in_force, in_force, meter_id=meter_id)
    return Override(base.meter_class, meter_id, settings, in_force)


async def _base(conn: Conn, project_id: int, meter_class: str) -> Override:
    return next(one for one in await of_project(conn, project_id) if one.meter_class == meter_class)


async def _write(conn: Conn, key: Mapping[str, object], settings: Mapping[str, Any]) -> None:
    if settings:
        await conn.execute(_KEEP, {**key, "settings": Jsonb(dict(settings))})
    else:
        await conn.execute(_FORGET, key)
