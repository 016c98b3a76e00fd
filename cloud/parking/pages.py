"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.charging import pages as charging
from cloud.parking.coupons import pages as coupons
from cloud.parking.desk import pages as desk
from cloud.parking.fees import pages as fees
from cloud.parking.lists import pages as lists
from cloud.parking.places import pages as places
from cloud.parking.reservations import pages as reservations
from cloud.parking.spaces import pages as spaces
from cloud.parking.vehicles import pages as vehicles
from cloud.parking.visitors import pages as visitors
from cloud.parking.visitors import public_pages as public

router = APIRouter(include_in_schema=False)
for room in (charging, desk, fees, coupons, places, spaces, lists, vehicles, reservations, visitors, public):
    router.include_router(room.router)
