"""Several plates, one space: cars beyond the space count are temporary; who is converted, and from when, is a rule."""

from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest

from cloud.kit.db import Database
from cloud.parking.permits.terms import WhenFreed
from tests.integration.parking.permits.holder import FIRST, SECOND, make_permit
from tests.integration.parking.site import NOON, Site, rows

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("rule", "second"), [("never", "8.00"), ("from-then", "5.00")])
async def test_the_second_car_pays_and_the_first_does_not_whatever_is_told_first(
    ingest_db: Database, worker_db: Database, site: Site, rule: WhenFreed, second: str, seed: int
) -> None:
    await make_permit(worker_db, site, (FIRST, SECOND), spaces=1, when_freed=rule)
    told = [
        site.passage("entry", FIRST, NOON),
        site.passage("entry", SECOND, NOON + HOUR),
        # The space is free two hours after the second car came: 5.00 until then.
        site.passage("exit", FIRST, NOON + 3 * HOUR),
        site.passage("exit", SECOND, NOON + 6 * HOUR),
    ]
    Random(seed).shuffle(told)
    for passage in told:
        await site.report(ingest_db, [passage], NOON + 7 * HOUR)
    found = {row["plate"]: row["fee"] for row in await rows(worker_db, "SELECT plate, fee FROM parking_session")}
    assert found == {FIRST: Decimal("0.00"), SECOND: Decimal(second)}
