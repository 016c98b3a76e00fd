"""Files of readings."""

from cloud.kit.db import Asker, Database
from cloud.metering.imports import import_readings
from tests.integration.metering.site import make_site

FILE = """表号,抄表时间,读数,单位
E1,2026-01-31 08:00,1.5,kWh
E1,2026-01-31 08:00,1.6,
E9,2026-01-31 08:00,1,
E2,2026/1/31,-4,
E2,31.01.2026 9:00,2,MWh
"""


async def test_half_bad_file_dry_then_stored_then_repeated(worker_db: Database, web_db: Database) -> None:
    site = await make_site(worker_db)
    found = []
    for dry_run in (True, False, False):
        async with web_db.transaction(Asker("staff", (site.project_id,))) as conn:
            answers = await import_readings(conn, site.project_id, FILE.encode("gbk"), dry_run=dry_run)
            rows = await (await conn.execute("SELECT value FROM reading ORDER BY value")).fetchall()
        found.append(([(one.line, one.outcome, one.code) for one in answers], [row["value"] for row in rows]))
    bad = [(3, "other-value", ""), (4, "refused", "unknown-meter"), (5, "refused", "negative")]
    first = [(2, "stored", ""), *bad, (6, "stored", "")]
    again = [(2, "repeated", ""), *bad, (6, "repeated", "")]
    assert found == [(first, []), (first, [1_500, 2_000_000]), (again, [1_500, 2_000_000])]
