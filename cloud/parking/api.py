"""REST of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.charging import api as charging
from cloud.parking.coupons import api as coupons
from cloud.parking.desk import api as desk
from cloud.parking.fees import api as fees
from cloud.parking.places import api as places
from cloud.parking.stays import api as stays
from cloud.parking.vehicles import api as vehicles

router = APIRouter(prefix="/api/v1", tags=["parking"])
for room in (places, fees, stays, charging, coupons, desk, vehicles):
    router.include_router(room.router)
