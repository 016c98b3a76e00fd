"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk
from cloud.parking.stays import incident_pages as incidents

router = APIRouter(include_in_schema=False)
for room in (desk, incidents):
    router.include_router(room.router)
