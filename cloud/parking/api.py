"""REST of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.charging import api as charging
from cloud.parking.counts import api as counts
from cloud.parking.desk import api as desk
from cloud.parking.lists import api as lists
from cloud.parking.pictures import api as pictures
from cloud.parking.places import api as places
from cloud.parking.reservations import api as reservations
from cloud.parking.shifts import api as shifts
from cloud.parking.spaces import api as spaces
from cloud.parking.stays import api as stays
from cloud.parking.vehicles import api as vehicles

router = APIRouter(prefix="/api/v1", tags=["parking"])
for room in (places, spaces, lists, stays, charging, desk, shifts, pictures, vehicles, reservations, counts):
    router.include_router(room.router)
