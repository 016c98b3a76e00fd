"""Pages of the reports, by subject."""

from cloud.kit.routing import page_router, take_in
from cloud.reports.parking import pages as parking

router = page_router()
take_in(router, parking.router)
