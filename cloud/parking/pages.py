"""Pages of parking, by subject."""

from fastapi import APIRouter

from cloud.parking.desk import pages as desk
from cloud.parking.permits import cards_pages as cards
from cloud.parking.permits import pages as permits

router = APIRouter(include_in_schema=False)
for room in (desk, cards, permits):
    router.include_router(room.router)
