"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk
from cloud.parking.lists import pages as lists
from cloud.parking.places import pages as places
from cloud.parking.spaces import pages as spaces
from cloud.parking.stays import incident_pages as incidents
from cloud.parking.vehicles import pages as vehicles

router = APIRouter(include_in_schema=False)
for room in (desk, incidents, places, spaces, lists, vehicles):
    router.include_router(room.router)
