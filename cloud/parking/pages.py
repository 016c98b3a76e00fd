"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.coupons import pages as coupons
from cloud.parking.desk import pages as desk
from cloud.parking.fees import pages as fees

router = APIRouter(include_in_schema=False)
for room in (desk, fees, coupons):
    router.include_router(room.router)
