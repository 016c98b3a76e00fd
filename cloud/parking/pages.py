"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk

router = APIRouter(include_in_schema=False)
for room in (desk,):
    router.include_router(room.router)
