"""The place that readings and usage are asked for by: exactly one of project, building, unit and meter."""

from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, model_validator

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.inputs import Day, Id, Input
from cloud.kit.periods import Period
from cloud.metering import service
from cloud.metering.consumption.selection import Selector
from cloud.metering.records import MAIN_CHANNEL, Medium
from gateway.contract.quantities import BY_CODE, Quantity


class PlaceQuery(Input):
    """One of project, building, unit or meter; local days [from, to) of its project."""

    project_id: Id | None = None
    building_id: Id | None = None
    unit_id: Id | None = None
    meter_id: Id | None = None
    medium: Annotated[Medium, Field(description="A meter has one of its own.")] = "electricity"
    channel: Annotated[str, Field(max_length=64, description="The register that is billed unless named.")] | None = None
    from_: Annotated[Day, Field(alias="from", examples=["2026-01-01"])]
    to: Annotated[Day, Field(examples=["2026-02-01"])]

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(one is not None for one in (self.project_id, self.building_id, self.unit_id, self.meter_id)) != 1:
            raise ValueError("expected exactly one of project_id, building_id, unit_id, meter_id")
        return self

    def days(self, longest: int, what: str) -> Period:
        """The same as the services know it, at most `longest` days for `what`. Raises InvalidInput."""
        if not 1 <= (self.to - self.from_).days <= longest:
            raise InvalidInput("bad-period", f"expected 1 to {longest} days for {what}", field="to")
        return Period(self.from_, self.to)


@dataclass(frozen=True, slots=True)
class Place:
    """Meters of one medium of a project, and the register of theirs that is asked for."""

    selector: Selector
    project: Project
    channel: Quantity


async def place_of(conn: Conn, query: PlaceQuery) -> Place:
    """What the query names, as the asker may see it. Raises NotFound, InvalidInput (channel)."""
    selector = await _selector(conn, query)
    project = await estate.get_project(conn, selector.project_id)
    return Place(selector, project, channel_of(query.channel, selector.medium))


def channel_of(code: str | None, medium: Medium) -> Quantity:
    """The channel with this code, the billed one of the medium unless named. Raises InvalidInput."""
    if code is None:
        return MAIN_CHANNEL[medium]
    if code not in BY_CODE:
        raise InvalidInput("unknown-channel", "expected the code of a channel", field="channel")
    return BY_CODE[code]


async def _selector(conn: Conn, query: PlaceQuery) -> Selector:
    if query.meter_id is not None:
        meter = await service.get_meter(conn, query.meter_id)
        return Selector(meter.project_id, meter.medium, meter_id=meter.id)
    if query.unit_id is not None:
        unit = (await estate.units_by_id(conn, [query.unit_id])).get(query.unit_id)
        if unit is None:
            raise NotFound("no-such-unit", f"there is no unit {query.unit_id}", field="unit_id")
        return Selector(unit.project_id, query.medium, unit_id=unit.id)
    if query.building_id is not None:
        building = await estate.get_building(conn, query.building_id)
        return Selector(building.project_id, query.medium, building_id=building.id)
    assert query.project_id is not None
    return Selector(query.project_id, query.medium)
