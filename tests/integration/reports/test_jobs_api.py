"""Work in the background as its project's staff watch it."""

import httpx

from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext, enqueue
from tests.integration.app import People, once


async def test_a_bill_run_answers_with_the_address_of_its_job(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    mine, other = await people.project(), await people.project()
    admin, viewer = await people.staff("admin", mine.id), await people.staff("viewer", mine.id)
    body = {"project_id": mine.id, "start": "2026-01-01", "end": "2026-02-01"}
    headers = {**admin, **once()}
    started = await app_client.post("/api/v1/bill-runs", json=body, headers=headers)
    assert started.status_code == 202, started.text
    where = started.headers["Location"]
    assert started.json()["job"] == where
    again = await app_client.post("/api/v1/bill-runs", json=body, headers=headers)
    assert (again.status_code, again.headers["Location"]) == (202, where)

    job = (await app_client.get(where, headers=viewer)).json()
    assert (job["kind"], job["state"], job["project_id"]) == ("billing.run", "queued", mine.id)
    assert (job["progress"], job["total"], job["error"]) == (0, None, None)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE job SET state = 'running', attempts = 1")
    await JobContext(job["id"], mine.id, {}, worker_db, 1).progress(40, 120)
    job = (await app_client.get(where, headers=viewer)).json()
    assert (job["state"], job["progress"], job["total"]) == ("running", 40, 120)

    stranger = await people.staff("admin", other.id)
    assert (await app_client.get(where, headers=stranger)).json()["code"] == "no-such-job"
    assert (await app_client.get(where, headers=await people.staff("guard", mine.id))).status_code == 403


async def test_jobs_are_listed_by_state_and_kind_and_without_those_of_nobody(
    app_client: httpx.AsyncClient, people: People, worker_db: Database
) -> None:
    mine = await people.project()
    viewer = await people.staff("viewer", mine.id)
    async with worker_db.transaction(SYSTEM) as conn:
        ids = [await enqueue(conn, kind, {"secret": "x"}, project_id=mine.id) for kind in ("a.b", "c.d", "a.b")]
        await enqueue(conn, "a.b", {})
        await conn.execute("UPDATE job SET state = 'failed', error = 'meter 3 is gone' WHERE id = %s", (ids[0],))

    async def listed(**query: str | int) -> list[int]:
        answer = await app_client.get("/api/v1/jobs", params=query, headers=viewer)
        assert "secret" not in answer.text
        return [job["id"] for job in answer.json()["items"]]

    assert await listed() == ids[::-1]
    assert await listed(kind="a.b") == [ids[2], ids[0]]
    assert await listed(state="failed") == [ids[0]]
    assert await listed(limit=1) == ids[2:]
