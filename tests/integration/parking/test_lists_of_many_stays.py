"""The first page of a list of stays reads a page of them, however many there are and whoever asks."""

from typing import LiteralString

import psycopg

from cloud.kit.db import Asker, Database
from cloud.parking.charging import debt_repository
from cloud.parking.stays import reading_repository
from tests.integration.parking.site import Site
from tests.plans import rows_read

STAYS, PAGE, OWING = 5_000, 51, 10
_FILL: LiteralString = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, currency, fee)
    SELECT %(project)s, %(lot)s, 'P' || n, 'small', timestamptz '2026-01-01' + n * interval '1 minute',
           timestamptz '2026-01-02' + n * interval '1 minute', 'closed', 'CNY', CASE WHEN n <= %(owing)s THEN 8 END
    FROM generate_series(1, %(stays)s) n
"""
_OWE: LiteralString = "UPDATE parking_session SET unpaid = fee WHERE fee > 0"
_EVERY: dict[str, object] = {
    "project_id": None, "lot_id": None, "state": None, "plate": None, "began_from": None, "began_before": None,
    "left_from": None, "left_before": None, "after_ms": None, "after_id": None, "before": 2**62, "limit": PAGE,
}  # fmt: skip


async def test_the_newest_are_found_without_the_others(site: Site, owner_dsn: str, web_db: Database) -> None:
    """Of one project, and of all at once, where no index that begins with a project helps."""
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute("ALTER TABLE parking_session DISABLE TRIGGER USER")
        owner.execute(_FILL, {"project": site.project_id, "lot": site.lot_id, "stays": STAYS, "owing": OWING})
        owner.execute(_OWE)
        owner.execute("ANALYZE")
    staff = Asker("staff", (site.project_id,))
    for project in (None, site.project_id):
        asked = {**_EVERY, "project_id": project}
        read = await rows_read(web_db, reading_repository._LIST_SESSIONS, asked, "parking_session", asker=staff)
        assert read <= PAGE
        assert await rows_read(web_db, debt_repository.LIST, asked, "parking_session", asker=staff) <= 2 * OWING
