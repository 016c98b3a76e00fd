"""REST: which devices send readings that cannot be used."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router
from cloud.metering.unusable import service as unusable

router = rest_router("metering")


class UnusableQuery(ListQuery):
    """Of which project, and of which device."""

    device_id: Id | None = None


class UnusableOut(BaseModel):
    """Readings of one device that one reason made useless, in the last 24 hours and 7 days."""

    model_config = ConfigDict(from_attributes=True)

    device_id: Annotated[int | None, Field(description="Null: nobody registered the device.")]
    gateway_code: str
    device_code: str
    meter_id: int | None
    reason: Annotated[str, Field(examples=["backward"])]
    stored: Annotated[bool, Field(description="Stored, and no usage is derived from them; else without a place.")]
    day_count: int
    week_count: int
    last_at: datetime


@router.get("/unusable-readings")
async def list_unusable(
    scope: Annotated[Scope, allow("devices.read")], query: Annotated[UnusableQuery, Query()]
) -> Listed[UnusableOut]:
    """Devices with unusable readings of the last 7 days, those with most first."""
    page = query.page(key_length=unusable.KEY_LENGTH)
    found = await unusable.list_unusable(scope.conn, page, query.project_id, datetime.now(UTC), query.device_id)
    return Listed(items=[UnusableOut.model_validate(row) for row in found.items], next_cursor=found.next_cursor)
