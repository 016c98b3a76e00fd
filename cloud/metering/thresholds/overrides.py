"""Thresholds that differ from those of the class: for all meters of a class in a project, or for one meter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.identity import service as identity
from cloud.identity.records import AuditEntry, AuditFilter
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest
from cloud.metering import service
from cloud.metering.thresholds import changes as threshold_changes
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
    beneath: Mapping[str, Any] = field(default_factory=dict)
    """What the project says about the class, where this is about a meter."""

    @property
    def inherited(self) -> Thresholds:
        """What would count if nothing were said here."""
        return merged(CLASSES[self.meter_class], self.beneath)


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
    return Override(base.meter_class, meter_id, settings, merged(base.in_force, settings), base.settings)


async def of_class(conn: Conn, project_id: int, meter_class: str) -> Override:
    """What a project says about a class. Raises InvalidInput."""
    _check_class(meter_class)
    return await _base(conn, project_id, meter_class)


async def history(conn: Conn, page: PageRequest, project_id: int, about: Override) -> Page[AuditEntry]:
    """What was said before about the class or the meter that `about` is of, the latest change first.

    A row goes when nothing differs any more and is made anew later: it is known by what it was made for, not by its id.
    """
    made_for: dict[str, Any] = {"class": about.meter_class} if about.meter_id is None else {"meter_id": about.meter_id}
    wanted = AuditFilter(project_id=project_id, table_name="validation_threshold", made_with=made_for)
    return await identity.list_audit_entries(conn, page, wanted)


async def set_of_class(conn: Conn, project_id: int, meter_class: str, settings: Mapping[str, Any]) -> Override:
    """Says what differs for a class in a project; nothing: as usual. Raises InvalidInput."""
    _check_class(meter_class)
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


def _check_class(meter_class: str) -> None:
    if meter_class not in CLASSES:
        raise InvalidInput("unknown-class", f"expected one of {', '.join(CLASSES)}", field="meter_class")


async def _base(conn: Conn, project_id: int, meter_class: str) -> Override:
    return next(one for one in await of_project(conn, project_id) if one.meter_class == meter_class)


async def _write(conn: Conn, key: Mapping[str, object], settings: Mapping[str, Any]) -> None:
    if settings:
        await conn.execute(_KEEP, {**key, "settings": Jsonb(dict(settings))})
    else:
        await conn.execute(_FORGET, key)
