"""What the stream of live readings takes, and how it and webhooks show readings."""

from datetime import UTC, datetime
from typing import Self

from pydantic import model_validator

from cloud.kit.inputs import Id, Input
from cloud.metering.live.batches import Points
from cloud.metering.live.watching import Place
from cloud.metering.models import QuantityOut
from gateway.contract.quantities import BY_NUMBER


class LiveQuery(Input):
    """One of project, building, unit or meter."""

    project_id: Id | None = None
    building_id: Id | None = None
    unit_id: Id | None = None
    meter_id: Id | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(one is not None for one in (self.project_id, self.building_id, self.unit_id, self.meter_id)) != 1:
            raise ValueError("expected exactly one of project_id, building_id, unit_id, meter_id")
        return self

    def place(self) -> Place:
        """The same as the services know it."""
        return Place(self.project_id, self.building_id, self.unit_id, self.meter_id)


def shown_points(points: Points) -> list[dict[str, object]]:
    """Readings as JSON: register values before the multiplier, decimal text with a unit."""
    columns = (points.meters, points.channels, points.taken_ms, points.values, points.qualities)
    return [
        {
            "meter_id": meter_id,
            "channel": BY_NUMBER[channel].code,
            "taken_at": datetime.fromtimestamp(taken_ms / 1000, UTC),
            "value": QuantityOut.of(value, BY_NUMBER[channel]).model_dump(),
            "quality": quality,
        }
        for meter_id, channel, taken_ms, value, quality in zip(*(one.tolist() for one in columns), strict=True)
    ]
