"""Promise 2: "Same inputs and versions → byte-identical bill. A bill stores reading ids, tariff version, occupancy
facts and engine version."
"""

import json
from collections.abc import AsyncIterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, next_month
from cloud.kit.security import Keys
from cloud.settings import CloudSettings
from cloud.tariffs.rating.engine import ENGINE_VERSION
from tests.acceptance.money.office import Document, Office
from tests.integration.app import People, equipped
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import Site, make_site, noon

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
GIVEN_BY_THE_DATABASE = {"id", "bill_id", "run_id", "charge_id", "created_at", "bill", "adjustment", "charge"}


@pytest.fixture
async def another_office(
    another_owner_dsn: str, settings: CloudSettings, keys: Keys, site: Site
) -> AsyncIterator[Office]:
    """The same project with the same people, meters and readings in another database, which has its own application."""
    elsewhere = settings.model_copy(update={"database_dsn": SecretStr(another_owner_dsn)})
    app = equipped(elsewhere, keys, twin=True)
    async with (
        Database(another_owner_dsn, "gatemeter_worker", max_size=4) as db,
        Database(another_owner_dsn, None, max_size=2) as owner,
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gatemeter.test") as client,
    ):
        twin = await make_site(db)
        await _read(twin)
        yield Office(twin, client, await People(owner).staff("admin"))


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """Two flats with usage that does not come to round amounts."""
    made = await make_site(worker_db)
    await _read(made)
    return made


async def _read(site: Site) -> None:
    for flat in site.flats:
        await site.read(flat, "electricity", [300_511, 2_900_017, 100_000])
        await site.read(flat, "water", [12_000_001, 11_345_678, 9_000_000])


def _canonical(document: object) -> bytes:
    return json.dumps(_without_ids(document), sort_keys=True, ensure_ascii=False).encode()


def _without_ids(value: object) -> Any:
    """The same without the numbers that a database hands out in the order in which it is asked."""
    if isinstance(value, dict):
        return {key: _without_ids(one) for key, one in value.items() if key not in GIVEN_BY_THE_DATABASE}
    return [_without_ids(one) for one in value] if isinstance(value, list) else value


async def _rows(site: Site) -> bytes:
    """Bills with their charges, lines and inputs as the database holds them."""
    rows = await site.rows(
        """SELECT to_jsonb(b) AS bill,
                  (SELECT jsonb_agg(to_jsonb(c) ORDER BY c.agreement_id, c.period) FROM charge c WHERE c.bill_id = b.id)
                  AS charges,
                  (SELECT jsonb_agg(to_jsonb(l) ORDER BY l.position) FROM bill_line l WHERE l.bill_id = b.id) AS lines
           FROM bill b WHERE b.project_id = %s ORDER BY b.account_id, b.period""",
        site.project.id,
    )
    assert rows
    return _canonical([{**row, "itself": row["bill"]} for row in rows])


async def _seen(office: Office) -> list[tuple[bytes, bytes, bytes]]:
    """All bills as JSON, PDF and HTML."""
    return [
        (
            _canonical(await office.get(f"bills/{bill['id']}/explanation")),
            await office.document(bill, "pdf", "zh-CN"),
            await office.document(bill, "html"),
        )
        for bill in await office.bills()
    ]


async def _bill_two_months(site: Site) -> None:
    for month in (JANUARY, FEBRUARY):
        await site.run(month, noon(next_month(month)))


async def test_the_same_inputs_give_the_same_rows_json_pdf_and_html_in_two_databases(
    office: Office, another_office: Office
) -> None:
    for one in (office, another_office):
        await _bill_two_months(one.site)
    assert await _rows(office.site) == await _rows(another_office.site)
    assert await _seen(office) == await _seen(another_office)
    # And it could have been otherwise: one watt-hour more is another bill.
    await count_otherwise(another_office.site, another_office.site.flats[0], MARCH, 1)
    for one in (office, another_office):
        await one.site.run(MARCH)
        assert len(await one.bills()) == 6
    assert await _rows(office.site) != await _rows(another_office.site)


async def test_what_others_do_changes_no_byte_of_a_bill(office: Office, another_office: Office) -> None:
    neighbour = await make_site(another_office.site.db, flats=3, code="neighbour")
    for flat in neighbour.flats:
        await neighbour.read(flat, "electricity", [111_111, 222_222])
        await neighbour.read(flat, "water", [1_000_000, 1_000_000])
    await _bill_two_months(neighbour)
    for one in (office, another_office):
        await _bill_two_months(one.site)
    assert await _rows(office.site) == await _rows(another_office.site)
    mine = {bill["account_id"] for bill in await office.bills()}
    assert mine == {flat.account_id for flat in another_office.site.flats}
    for bill in await office.bills():
        (twin,) = [
            found
            for found in await another_office.bills()
            if (found["account_id"], found["period"]) == (bill["account_id"], bill["period"])
        ]
        assert twin["id"] != bill["id"], "the neighbour's bills came first"
        assert await office.document(bill, "pdf") == await another_office.document(twin, "pdf")


async def test_what_is_rated_again_from_the_same_state_is_the_same_draft(site: Site) -> None:
    await site.run(JANUARY)
    await count_otherwise(site, site.flats[1], JANUARY, 77_013)
    await late(site)
    seen = []
    for _ in range(3):
        run_id = await _preview(site, Period(FEBRUARY, MARCH))
        seen.append(await _rows(site))
        async with site.db.transaction(SYSTEM) as conn:
            await billing.cancel_run(conn, run_id)
    assert seen[0] == seen[1] == seen[2]
    await count_otherwise(site, site.flats[0], FEBRUARY, 1)
    await _preview(site, Period(FEBRUARY, MARCH))
    assert await _rows(site) != seen[0]


async def _preview(site: Site, period: Period) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        run = await billing.run_of_job(conn, await billing.start_run(conn, site.project.id, period))
    return (await billing.execute_run(site.db, SYSTEM, run.id, now=noon(period.end))).id


async def test_a_bill_stores_readings_tariff_version_occupancy_facts_and_engine_version(office: Office) -> None:
    site, flat = office.site, office.site.flats[0]
    await site.rows(
        "INSERT INTO household (project_id, unit_id, persons, valid) VALUES (%s, %s, 6, '[2025-12-01,)') RETURNING 1",
        site.project.id, flat.unit_id,
    )  # fmt: skip
    await office.bill(JANUARY)
    told = await office.get(f"bills/{(await office.bills(flat))[0]['id']}/explanation")
    assert told["engine_version"] == ENGINE_VERSION
    inputs = {one["channel"]: one for one in told["inputs"]["charges"] if "channel" in one}
    assert len(inputs) == 2, "electricity and water"
    for one in inputs.values():
        await _readings_exist(site, one)
        await _tariff_is(site, one)
    electricity = min(inputs.values(), key=lambda one: int(one["channel"]))
    assert (electricity["persons"], electricity["multiplier"]) == (6, "1.0000")
    # Twelve of twelve months of the year with a larger household.
    assert electricity["window_parts"] == {"steps": 12, "covered": 12, "whole": 12}
    (fee,) = [one for one in told["inputs"]["charges"] if "channel" not in one]
    assert Decimal(fee["basis"]["area"]) == Decimal("89.50")
    await _tariff_is(site, fee)


async def _readings_exist(site: Site, inputs: Document) -> None:
    """A reading's id is its meter, its channel and its instant; what is cited stands there."""
    for end in ("opening", "closing"):
        found = await site.rows(
            "SELECT value FROM store.reading WHERE meter_id = %s AND channel = %s AND taken_at = %s",
            inputs["meter"], inputs["channel"], datetime.fromisoformat(inputs[end]["taken_at"]),
        )  # fmt: skip
        assert found == [{"value": inputs[end]["value"]}]


async def _tariff_is(site: Site, inputs: Document) -> None:
    """The version that was in force, by its id and the hash of its content."""
    (found,) = await site.rows(
        """SELECT encode(v.content_hash, 'hex') AS hash, v.valid @> '2026-01-01'::date AS in_force FROM tariff_version v
           JOIN service_agreement a ON a.tariff_id = v.tariff_id WHERE v.id = %s AND a.id = %s""",
        inputs["tariff_version"], inputs["agreement"],
    )  # fmt: skip
    assert found == {"hash": inputs["tariff_hash"], "in_force": True}
