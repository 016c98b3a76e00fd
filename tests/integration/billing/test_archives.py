"""All bills of a run as one ZIP: asked for, written by the job in parts, fetched, forgotten."""

import io
import zipfile
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pypdf
import pytest

from cloud.billing.jobs import HANDLERS
from cloud.billing.runs import archives
from cloud.billing.runs.service import RunOptions, start_run
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import NotFound
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period
from tests.integration.app import Auth, People, once
from tests.integration.billing.site import JANUARY_USAGE, Site, make_site
from tests.worlds import World, world

FLATS = 23
"""More than are typeset at once."""


@world
async def site_world(db: Database) -> Site:
    """Flats with issued bills of January."""
    made = await make_site(db, FLATS)
    for flat in made.flats:
        for medium, quantity in JANUARY_USAGE.items():
            await made.read(flat, medium, [quantity])
    await made.run(date(2026, 1, 1))
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _asked(client: httpx.AsyncClient, auth: Auth, run_id: int, status: int = 202) -> dict[str, Any]:
    body = {"language": "zh-CN"}
    answer = await client.post(f"/api/v1/bill-runs/{run_id}/archives", json=body, headers={**auth, **once()})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _run_job(site: Site, job_id: int) -> dict[str, object] | None:
    (job,) = await site.rows("SELECT kind, payload FROM job WHERE id = %s", job_id)
    # The runner would have marked it so: only then progress is written.
    await site.rows("UPDATE job SET state = 'running', attempts = 1 WHERE id = %s RETURNING 1", job_id)
    return await HANDLERS[job["kind"]](JobContext(job_id, site.project.id, job["payload"], site.db))


async def test_all_bills_in_one_file(
    app_client: httpx.AsyncClient, people: People, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_PART_BYTES", 100_000)
    (run,) = await site.rows("SELECT id FROM bill_run")
    manager = await people.staff("manager", site.project.id)
    asked = await _asked(app_client, manager, run["id"])
    assert asked["file"] is None
    early = await app_client.get(f"/api/v1/bill-archives/{asked['id']}/file", headers=manager)
    assert (early.status_code, early.json()["code"]) == (409, "archive-not-ready")

    assert (await _run_job(site, asked["job_id"]) or {})["bills"] == FLATS
    (job,) = await site.rows("SELECT progress, total FROM job WHERE id = %s", asked["job_id"])
    assert (job["progress"], job["total"]) == (FLATS, FLATS)
    listed = (await app_client.get(f"/api/v1/bill-runs/{run['id']}/archives", headers=manager)).json()["items"]
    assert [(one["bills"], one["file"]) for one in listed] == [(FLATS, f"/api/v1/bill-archives/{asked['id']}/file")]
    parts = await site.rows("SELECT length(content) AS bytes FROM bill_archive_part ORDER BY position")
    assert len(parts) > 2
    assert max(part["bytes"] for part in parts) < 300_000

    file = await app_client.get(listed[0]["file"], headers=manager)
    assert file.headers["Content-Disposition"] == f'attachment; filename="bills-run-{run["id"]}-zh-CN.zip"'
    assert len(file.content) == listed[0]["bytes"]
    with zipfile.ZipFile(io.BytesIO(file.content)) as packed:
        assert packed.testzip() is None
        assert packed.namelist() == [f"2026-{n:06}.pdf" for n in range(1, FLATS + 1)]
        text = pypdf.PdfReader(io.BytesIO(packed.read("2026-000003.pdf"))).pages[0].extract_text()
    assert "A-0002" in text
    assert "2026年1月" in text

    again = await _asked(app_client, manager, run["id"])
    assert again["id"] == asked["id"]
    await _run_job(site, again["job_id"])
    assert (await app_client.get(listed[0]["file"], headers=manager)).content == file.content


async def test_who_may_have_it_and_how_long(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    (run,) = await site.rows("SELECT id FROM bill_run")
    asked = await _asked(app_client, await people.staff("manager", site.project.id), run["id"])
    elsewhere = await people.staff("manager", (await people.project()).id)
    resident = await people.resident(site.project.id, site.flats[0].person_id)
    for auth, status in ((elsewhere, 404), (resident, 403)):
        await _asked(app_client, auth, run["id"], status)
        answer = await app_client.get(f"/api/v1/bill-archives/{asked['id']}/file", headers=auth)
        assert answer.status_code == status
    async with site.db.transaction(SYSTEM) as conn:
        assert await archives.forget_archives(conn) == 0
        assert await archives.forget_archives(conn, datetime.now(UTC) + archives.KEPT + timedelta(minutes=1)) == 1
        with pytest.raises(NotFound):
            await archives.get_archive(conn, asked["id"])


async def test_a_run_at_work_has_no_file(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    february = Period(date(2026, 2, 1), date(2026, 3, 1))
    async with site.db.transaction(SYSTEM) as conn:
        await start_run(conn, site.project.id, february, options=RunOptions())
    run_id = (await site.rows("SELECT max(id) AS id FROM bill_run"))[0]["id"]
    refused = await _asked(app_client, await people.staff("admin"), run_id, 409)
    assert refused["code"] == "run-not-settled"
