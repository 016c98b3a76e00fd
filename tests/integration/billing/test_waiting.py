"""What came late and waits to be rated again: who sees it, why it waits, and trying it now."""

from dataclasses import dataclass

import httpx
import pytest

from cloud.billing import service as billing
from cloud.billing.jobs import HANDLERS
from cloud.billing.service import RunOptions
from cloud.estate.occupancies import service as occupancies
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period
from tests.integration.app import Auth, People, once
from tests.integration.billing.late import FEBRUARY, JANUARY, MARCH, USAGE, count_otherwise
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.browser import Browser, text_of


@dataclass
class Late:
    """The site, and the run whose drafts are waited for."""

    site: Site
    run_id: int

    async def night(self, **payload: object) -> dict[str, object]:
        """What the job does that is asked for, or that comes every night."""
        job = JobContext(1, self.site.project.id, payload, self.site.db)
        return await HANDLERS["billing.re-rate"](job) or {}


@pytest.fixture
async def late(worker_db: Database) -> Late:
    """Two flats: January is issued, February a draft. Then a reading of one and the persons of the other turn up."""
    site = await make_site(worker_db, services=("electricity",))
    for flat in site.flats:
        await site.read(flat, "electricity", USAGE)
    await site.run(JANUARY, noon(MARCH))
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.start_run(conn, site.project.id, Period(FEBRUARY, MARCH), options=RunOptions())
        run = (await billing.list_runs(conn, PageRequest(1), site.project.id)).items[0]
    await billing.execute_run(worker_db, SYSTEM, run.id, now=noon(MARCH))
    for _ in range(2):
        await count_otherwise(site, site.flats[0], JANUARY, 5_000)
    async with worker_db.transaction(SYSTEM) as conn:
        await occupancies.file_persons(conn, site.project.id, site.flats[1].unit_id, 6, JANUARY)
    return Late(site, run.id)


async def test_what_came_late_is_listed_with_the_reason_until_it_is_rated_again(
    app_client: httpx.AsyncClient, people: People, late: Late
) -> None:
    auth = await people.staff("manager", late.site.project.id)

    async def listed(auth: Auth = auth, **more: str) -> list[tuple[object, ...]]:
        query = {"project_id": str(late.site.project.id), **more}
        answer = await app_client.get("/api/v1/late-changes", params=query, headers=auth)
        assert answer.status_code == 200, answer.text
        names = ("kind", "meter", "unit", "from_day", "times", "code")
        return [tuple(one[name] for name in names) for one in answer.json()["items"]]

    persons = ("persons", None, "Tower 1 0001", "2026-01-01", 1)
    usage = ("usage", "E0", "Tower 1 0000", "2026-01-01", 2)
    assert await listed() == [(*persons, None), (*usage, None)]
    assert await listed(state="refused") == []
    assert (await late.night())["waiting"] == 2
    assert await listed() == [(*persons, "draft-waits"), (*usage, "draft-waits")]
    assert await listed(state="new") == []
    assert await listed(kind="usage") == await listed(search="e0") == [(*usage, "draft-waits")]
    assert await listed(search="0001") == [(*persons, "draft-waits")]
    query = {"project_id": str(late.site.project.id), "limit": "1"}
    first = (await app_client.get("/api/v1/late-changes", params=query, headers=auth)).json()
    assert await listed(limit="1", cursor=first["next_cursor"]) == [(*usage, "draft-waits")]
    elsewhere = await people.staff("manager", (await people.project()).id)
    assert await listed(elsewhere) == []
    async with late.site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, late.run_id)
    await late.night(project_id=late.site.project.id)
    assert await listed() == []


async def test_trying_again_is_asked_for_once_and_of_one_project_alone(
    app_client: httpx.AsyncClient, people: People, late: Late
) -> None:
    project_id = late.site.project.id
    auth = await people.staff("manager", project_id)

    async def ask(auth: Auth, project_id: int = project_id) -> httpx.Response:
        place = "/api/v1/late-changes/re-ratings"
        return await app_client.post(place, json={"project_id": project_id}, headers=auth | once())

    asked = await ask(auth)
    assert (asked.status_code, asked.headers["Location"]) == (202, asked.json()["job"])
    assert (await ask(auth)).json() == asked.json(), "the first is not done yet"
    elsewhere = (await people.project()).id
    assert (await ask(await people.staff("manager", elsewhere))).status_code == 404
    assert (await ask(await people.staff("viewer", project_id))).status_code == 403
    (job,) = await late.site.rows("SELECT payload FROM job WHERE kind = 'billing.re-rate'")
    assert job["payload"] == {"project_id": project_id}
    assert await late.night(project_id=elsewhere) == {"adjusted": 0, "waiting": 0}
    assert (await late.night(**job["payload"]))["waiting"] == 2


async def test_the_page_of_what_came_late_says_why_in_words(
    app_client: httpx.AsyncClient, people: People, late: Late
) -> None:
    auth = await people.staff("manager", late.site.project.id)
    await late.night()
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    browser = Browser(app_client, auth)
    said = text_of(await browser.see("/adjustments/waiting"))
    assert "Tower 1 0001" in said
    assert "a draft charges this agreement: re-rated once it is issued or cancelled" in said
    assert "Nothing waits" in text_of(await browser.see("/adjustments/waiting?state=new"))
    assert "E0" not in text_of(await browser.see("/adjustments/waiting?kind=persons"))
    for _ in range(2):
        await browser.send("/adjustments/waiting", once="t" * 16)
    assert "It is being tried again" in text_of(await browser.see("/adjustments/waiting"))
    assert len(await late.site.rows("SELECT FROM job WHERE kind = 'billing.re-rate'")) == 1
