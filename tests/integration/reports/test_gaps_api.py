"""What gateways gave up, by REST: page by page, only of the projects that one may see."""

import httpx

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from gateway.contract.messages import Gap, GapReason
from tests.integration.app import People

START = 1_764_000_000_000


async def test_gaps_are_listed_page_by_page_and_only_ones_own(
    app_client: httpx.AsyncClient, people: People, owner_db: Database
) -> None:
    mine, other = await people.project(), await people.project()
    async with owner_db.transaction(SYSTEM) as conn:
        for project in (mine, other):
            gateway = await devices.create_gateway(conn, project.id, "g1", "G 1")
            for n in range(3):
                lost = Gap(f"e-{n}", "", START, START + n, n, GapReason.THINNED)
                await devices.keep_gaps(conn, project.id, gateway.id, [lost])
    viewer = await people.staff("viewer", mine.id)
    first = (await app_client.get("/api/v1/reading-gaps", params={"limit": 2}, headers=viewer)).json()
    second = (
        await app_client.get(
            "/api/v1/reading-gaps", params={"limit": 2, "cursor": first["next_cursor"]}, headers=viewer
        )
    ).json()
    found = [*first["items"], *second["items"]]
    assert [one["device_code"] for one in found] == ["e-2", "e-1", "e-0"]
    assert {one["project_id"] for one in found} == {mine.id}
    assert second["next_cursor"] is None
    assert found[0]["gateway_code"] == "g1"
    assert (found[0]["lost"], found[0]["reason"], found[0]["content"]) == (2, "thinned", "readings")
    assert (found[0]["from_at"], found[0]["until_at"]) == ("2025-11-24T16:00:00Z", "2025-11-24T16:00:00.002000Z")
    none = await app_client.get("/api/v1/reading-gaps", params={"gateway_id": 10**6}, headers=viewer)
    assert none.json()["items"] == []
    guard = await people.staff("guard", mine.id)
    assert (await app_client.get("/api/v1/reading-gaps", headers=guard)).status_code == 403
