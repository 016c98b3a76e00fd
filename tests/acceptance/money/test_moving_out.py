"""Somebody moves out on a day: his final bill ends with that day, and the next one begins exactly there."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import Database
from cloud.kit.periods import day_start
from tests.acceptance.money.office import Office
from tests.integration.app import People
from tests.integration.billing.site import Site, make_site
from tests.integration.browser import Browser, text_of

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
LAST_DAY = date(2026, 2, 15)
AFTER = LAST_DAY + timedelta(days=1)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A flat that pays for electricity: 120 kWh in January, 80 kWh up to the last day, 45 kWh by whoever comes next."""
    made = await make_site(worker_db, 1, services=("electricity",))
    days = [JANUARY, FEBRUARY, AFTER, MARCH]
    at = [day_start(day, made.project.zone) for day in days]
    await _counted(made, list(zip(at, at[1:], [120_000, 80_000, 45_000], strict=False)))
    return await made.may_leap()


async def _counted(site: Site, stretches: list[tuple[datetime, datetime, int]]) -> None:
    """Readings at both ends of each stretch, and its usage."""
    meter, value = site.flats[0].meters["electricity"], 5_000_000
    readings = [(stretches[0][0], value)]
    for _, end, quantity in stretches:
        value += quantity
        readings.append((end, value))
    await site.rows(
        """WITH read AS (INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                         SELECT %s, 1, at, wh, %s FROM unnest(%s::timestamptz[], %s::bigint[]) AS new (at, wh))
           INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
           SELECT %s, 1, at, length, wh, %s
           FROM unnest(%s::timestamptz[], %s::int[], %s::bigint[]) AS new (at, length, wh) RETURNING 1""",
        meter, site.project.id, [at for at, _ in readings], [wh for _, wh in readings],
        meter, site.project.id, [start for start, _, _ in stretches],
        [int((end - start).total_seconds()) for start, end, _ in stretches], [wh for _, _, wh in stretches],
    )  # fmt: skip


async def test_the_final_bill_of_who_moves_out_ends_with_his_last_day(office: Office, people: People) -> None:
    site, flat = office.site, office.site.flats[0]
    browser = Browser(office.client, await people.staff("manager", site.project.id))
    await site.rows(
        "UPDATE access_token SET kind = 'session' WHERE id = (SELECT max(id) FROM access_token) RETURNING 1"
    )
    here = {"project_id": site.project.id, "unit_id": flat.unit_id}
    stay = await office.post("occupancies", **here, person_id=flat.person_id, role="tenant", valid_from="2025-01-01")
    await office.bill(JANUARY)

    # He moves out on the page of the unit, which leads on to the bill of the same days.
    unit = f"/estate/units/{flat.unit_id}"
    await browser.see(unit)
    await browser.send(f"/estate/occupancies/{stay['id']}/move-out", last_day=LAST_DAY.isoformat())
    page = await browser.see(unit)
    assert "Resident 0 leaves with Feb 15, 2026, and account A-0000 goes on." in text_of(page)
    (leads_to,) = set(re.findall(r'href="(/accounts/\d+/final-bill\?ends_on=[^"]+)"', page))
    assert "What is left to be charged" in await browser.see(leads_to)
    ends_on = leads_to.rpartition("=")[2]
    begun = await browser.send(leads_to.partition("?")[0], ends_on=ends_on)
    run_id = int(re.findall(r"/bill-runs/(\d+)", begun.headers["Location"])[0])
    (job,) = await site.rows("SELECT id FROM job WHERE kind = 'billing.run' ORDER BY id DESC LIMIT 1")
    await office.work(job["id"])
    await office.approve(await office.get(f"bill-runs/{run_id}"))

    final = (await office.bills(flat))[-1]
    (charge,) = (await office.get(f"bills/{final['id']}/explanation"))["bill"]["charges"]
    assert charge["period"] == {"start": f"{FEBRUARY}", "end": f"{AFTER}"}
    used = [Decimal(line["quantity"]["quantity"]) for line in charge["lines"] if line["kind"] == "usage"]
    assert used == [Decimal(80)]
    assert "goes on" not in text_of(await browser.see(unit))

    # Whoever comes next pays from the day after, from the same reading.
    newcomer = await office.post("people", project_id=site.project.id, name="Newcomer")
    account = await office.post("accounts", **here, number="A-NEXT", person_id=newcomer["id"], valid_from=f"{AFTER}")
    await office.post("occupancies", **here, person_id=newcomer["id"], role="tenant", valid_from=f"{AFTER}")
    await office.post(
        "service-agreements",
        project_id=site.project.id,
        account_id=account["id"],
        service="electricity",
        tariff_id=site.tariffs["electricity"],
        meter_id=flat.meters["electricity"],
        valid_from=f"{AFTER}",
    )
    await office.bill(FEBRUARY)
    bill = (await office.items("bills", account_id=account["id"]))[-1]
    (following,) = (await office.get(f"bills/{bill['id']}/explanation"))["bill"]["charges"]
    assert following["period"] == {"start": f"{AFTER}", "end": f"{MARCH}"}
    assert following["opening"] == charge["closing"]
    used = [Decimal(line["quantity"]["quantity"]) for line in following["lines"] if line["kind"] == "usage"]
    assert used == [Decimal(45)]
