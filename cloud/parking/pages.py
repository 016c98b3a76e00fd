"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.charging import pages as charging
from cloud.parking.desk import pages as desk
from cloud.parking.visitors import pages as visitors
from cloud.parking.visitors import public_pages as public

router = APIRouter(include_in_schema=False)
for room in (charging, desk, visitors, public):
    router.include_router(room.router)
