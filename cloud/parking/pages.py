"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk
from cloud.parking.lists import pages as lists
from cloud.parking.pictures import pages as pictures
from cloud.parking.places import pages as places
from cloud.parking.reservations import pages as reservations
from cloud.parking.shifts import pages as shifts
from cloud.parking.spaces import pages as spaces
from cloud.parking.vehicles import pages as vehicles

router = APIRouter(include_in_schema=False)
for room in (desk, shifts, pictures, places, spaces, lists, vehicles, reservations):
    router.include_router(room.router)
