"""What a gateway could not read of what it was told is seen by staff, and by programs."""

import httpx
import pytest

from cloud.devices import service
from cloud.kit.db import SYSTEM, Database
from gateway.contract.messages import Health
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.metering.site import Site, make_site, now_ms


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def sees_devices(client: httpx.AsyncClient, people: People, site: Site) -> str:
    manager = await people.staff("manager", site.project_id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return text_of(await Browser(client, manager).see("/devices"))


async def reports(db: Database, site: Site, **fields: int) -> None:
    async with db.transaction(SYSTEM) as conn:
        report = Health(now_ms(), "0.0.9", 1, 0, 0, 0, 0, **fields)  # type: ignore[arg-type]  # all counts
        await service.apply_health(conn, site.gateway_id, report)


async def test_staff_see_which_gateway_is_older_than_what_it_is_told(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, site: Site
) -> None:
    auth = await people.staff("viewer", site.project_id)

    async def told() -> dict[str, object]:
        (found,) = (await app_client.get("/api/v1/gateways", headers=auth)).json()["items"]
        return {name: found[name] for name in ("software", "not_understood", "messages_refused")}

    assert await told() == {"software": None, "not_understood": None, "messages_refused": None}
    await reports(ingest_db, site, not_understood=3, refused=1)
    assert await told() == {"software": "0.0.9", "not_understood": 3, "messages_refused": 1}
    shown = await sees_devices(app_client, people, site)
    assert "3 entries not understood" in shown
    assert "Its software (0.0.9) is older than what it is told" in shown
    assert "1 message refused" in shown


@pytest.mark.parametrize(
    ("ahead_ms", "seconds", "words"),
    [(540_500, 540, "clock 9 minutes ahead"), (-60_000, -60, "clock 1 minute behind"), (59_000, 59, ""), (0, 0, "")],
)
async def test_staff_see_which_gateway_has_a_wrong_clock(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, site: Site, ahead_ms: int, seconds: int,
    words: str,
) -> None:  # fmt: skip
    auth = await people.staff("viewer", site.project_id)
    await reports(ingest_db, site, clock_ahead=ahead_ms)
    (found,) = (await app_client.get("/api/v1/gateways", headers=auth)).json()["items"]
    assert found["clock_ahead_s"] == seconds
    shown = await sees_devices(app_client, people, site)
    assert words in shown
    assert bool(words) == ("Barriers go by the time of this system meanwhile" in shown)


async def test_a_gateway_that_reads_everything_is_not_spoken_of(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, site: Site
) -> None:
    await reports(ingest_db, site)
    shown = await sees_devices(app_client, people, site)
    assert "not understood" not in shown
    assert "refused" not in shown
