"""Permit expires in mid-stay: stay split at expiry, grace days configurable."""

from datetime import timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import Database
from tests.integration.parking.permits.holder import DAY, FIRST, make_permit
from tests.integration.parking.site import NOON, Site, rows

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ends", "grace_days", "fee"),
    [
        (NOON + 2 * HOUR, 0, "6.00"),
        (NOON + 2 * HOUR, 1, "0.00"),
        (NOON + 5 * HOUR, 0, "0.00"),
        (NOON - HOUR, 0, "8.00"),
        # A day of grace makes the stay as free as the permit did.
        (NOON - HOUR, 1, "0.00"),
    ],
)
async def test_what_comes_after_the_end_costs_what_a_stay_of_that_length_costs(
    ingest_db: Database, worker_db: Database, site: Site, ends: object, grace_days: int, fee: str
) -> None:
    await make_permit(worker_db, site, since=NOON - 9 * DAY, until=ends, grace_days=grace_days)  # type: ignore[arg-type]
    left = NOON + 5 * HOUR
    await site.report(ingest_db, [site.passage("entry", FIRST, NOON), site.passage("exit", FIRST, left)], left)
    assert await rows(worker_db, "SELECT state, fee FROM parking_session") == [{"state": "closed", "fee": Decimal(fee)}]
