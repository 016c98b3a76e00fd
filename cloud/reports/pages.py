"""Pages of the reports, by subject."""

from fastapi import APIRouter

from cloud.reports.parking import pages as parking

router = APIRouter(include_in_schema=False)
router.include_router(parking.router)
