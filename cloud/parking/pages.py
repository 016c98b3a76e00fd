"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk
from cloud.parking.reservations import pages as reservations

router = APIRouter(include_in_schema=False)
for room in (desk, reservations):
    router.include_router(room.router)
