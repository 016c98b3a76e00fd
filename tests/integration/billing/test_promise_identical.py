"""Promise 2: the same inputs and versions give a byte-identical bill."""

import json
from datetime import date

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.billing.test_rerating import count_otherwise, late

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


async def _preview(site: Site, period: Period) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, period))
    return (await billing.execute_run(site.db, SYSTEM, run.id, now=noon(period.end))).id


async def _drafts(site: Site) -> bytes:
    """Bills, charges, lines and inputs of all drafts as canonical JSON, without the ids that the database gives."""
    rows = await site.rows(
        """SELECT to_jsonb(b) - '{id,run_id,created_at}'::text[] AS bill,
                  (SELECT jsonb_agg(to_jsonb(c) - '{id,bill_id}'::text[] ORDER BY c.agreement_id, c.period)
                   FROM charge c WHERE c.bill_id = b.id) AS charges,
                  (SELECT jsonb_agg(to_jsonb(l) - '{id,bill_id,charge_id}'::text[] ORDER BY l.position)
                   FROM bill_line l WHERE l.bill_id = b.id) AS lines
           FROM bill b WHERE b.state = 'draft' ORDER BY b.account_id"""
    )
    assert rows
    return json.dumps(rows, sort_keys=True).encode()


async def test_the_same_inputs_and_versions_give_a_byte_identical_bill(worker_db: Database) -> None:
    site = await make_site(worker_db, flats=3)
    for flat in site.flats:
        await site.read(flat, "electricity", [300_511, 2_900_017])
        await site.read(flat, "water", [12_000_000, 11_345_678])
    await site.run(JANUARY)
    await count_otherwise(site, site.flats[1], JANUARY, 77_013)
    await late(site)
    seen = []
    for _ in range(3):
        run_id = await _preview(site, Period(FEBRUARY, MARCH))
        seen.append(await _drafts(site))
        async with site.db.transaction(SYSTEM) as conn:
            await billing.cancel_run(conn, run_id)
    assert seen[0] == seen[1] == seen[2]
    await count_otherwise(site, site.flats[2], FEBRUARY, 1)
    await _preview(site, Period(FEBRUARY, MARCH))
    assert await _drafts(site) != seen[0]
