"""Rows that hold from a day to a day: their dates, their overlaps, and that unit and person are the project's."""

from datetime import date

from cloud.estate import repository
from cloud.estate.records import Validity
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput


async def must_be_in(conn: Conn, project_id: int, *, unit_id: int | None = None, person_id: int | None = None) -> None:
    """Raises InvalidInput where the unit or the person is not the project's."""
    if unit_id is not None:
        unit = (await repository.units_by_id(conn, [unit_id])).get(unit_id)
        if unit is None or unit.project_id != project_id:
            raise unknown("unit", unit_id, project_id)
    if person_id is not None:
        person = (await repository.people_by_id(conn, [person_id])).get(person_id)
        if person is None or person.project_id != project_id:
            raise unknown("person", person_id, project_id)


def unknown(thing: str, thing_id: int, project_id: int) -> InvalidInput:
    """The project has no such thing."""
    return InvalidInput(f"unknown-{thing}", f"project {project_id} has no {thing} {thing_id}", field=f"{thing}_id")


def overlap(thing: str, other_id: int, other: Validity) -> Conflict:
    """Another row holds on some of the days; `params` have its id and its days."""
    detail = f"{thing} {other_id} already holds from {other}"
    return Conflict("overlap", detail, field="valid_from", other_id=other_id, other=other)


def dates(valid_from: date, valid_until: date | None) -> dict[str, object]:
    """Both as values of a statement. Raises InvalidInput unless the end is after the beginning."""
    if valid_until is not None and valid_until <= valid_from:
        raise InvalidInput("bad-dates", f"expected a day after {valid_from}, got {valid_until}", field="valid_until")
    return {"valid_from": valid_from, "valid_until": valid_until}
