"""What could not be taken: tried again by filter, put away with a reason, brought back, its clock corrected."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.devices import inbox_decisions, replays
from cloud.devices import service as devices
from cloud.devices.records import InboxFilter
from cloud.devices.replays import REPLAY, Replay, replay_of
from cloud.ingest import jobs, replay
from cloud.ingest.messages import read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.metering import service as metering
from gateway.contract import topics
from gateway.contract.messages import Point, Quality
from gateway.contract.topics import Up
from tests.integration.app import People, once
from tests.integration.devices.test_orders import browser
from tests.integration.metering.site import CHANNEL, Site, hourly, make_site, message, now_ms

HOUR_S = 3600


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def rows(db: Database, query: str) -> list[dict[str, Any]]:
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def broken(db: Database, *payloads: bytes) -> None:
    topic = topics.up("demo", "gw-1", Up.READINGS)
    await Writer(db).store([read(topic, payload, now_ms()) for payload in payloads])


async def states(db: Database) -> dict[str, int]:
    async with db.transaction(SYSTEM) as conn:
        found = (await devices.list_dead_letters(conn, PageRequest(50), InboxFilter(state=None))).items
    return {state: sum(one.state == state for one in found) for state in {one.state for one in found}}


async def test_a_letter_keeps_the_time_it_came_first_and_counts_what_came_only(
    ingest_db: Database, owner_db: Database, site: Site
) -> None:
    await broken(ingest_db, b"[1,")
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE dead_letter SET received_at = '2026-01-01Z', last_at = '2026-01-01Z'")
    await broken(ingest_db, b"[1,")
    for _ in range(2):
        assert await replay.run(ingest_db, replay_of("dead-letters", InboxFilter())) == replay.Replayed(0, 1)
    [letter] = await rows(ingest_db, "SELECT received_at, last_at, tried_at, times, replayed_at FROM dead_letter")
    assert letter["received_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert letter["last_at"] > letter["received_at"]
    assert (letter["times"], letter["replayed_at"], letter["tried_at"] is None) == (2, None, False)


async def test_a_letter_refused_for_another_reason_is_still_one_letter(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await Writer(ingest_db).store([message(1, hourly("m1", 0, [5]), "gw-9")])
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE dead_letter SET payload = '[1,', reason = 'internal-error'")
    await replay.run(ingest_db, replay_of("dead-letters", InboxFilter()))
    assert await rows(ingest_db, "SELECT reason, times FROM dead_letter") == [{"reason": "bad-json", "times": 1}]


async def test_only_what_is_wanted_is_tried_and_counted(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await broken(ingest_db, b"[1,", b"[2,", b"")
    await Writer(ingest_db).store([message(1, hourly("m1", 0, [5]), "gw-9")])
    async with worker_db.transaction(SYSTEM) as conn:
        await devices.create_gateway(conn, site.project_id, "gw-9", "New")
    everything = replay_of("dead-letters", InboxFilter(site.project_id))
    assert await replay.count(ingest_db, everything) == {"bad-json": 2, "empty": 1, "unknown-gateway": 1}
    assert await replay.count(ingest_db, replay_of("dead-letters", InboxFilter(site.project_id + 1))) == {}
    future = InboxFilter(since=datetime.now(UTC) + timedelta(hours=1))
    assert await replay.count(ingest_db, replay_of("dead-letters", future)) == {}
    assert await replay.run(ingest_db, replay_of("dead-letters", InboxFilter(), 2)) == replay.Replayed(0, 2)
    wanted = replay_of("dead-letters", InboxFilter(reason="unknown-gateway"))
    assert await replay.run(ingest_db, wanted) == replay.Replayed(1, 0)
    assert await states(ingest_db) == {"waiting": 3, "replayed": 1}
    with pytest.raises(InvalidInput):
        replay_of("dead-letters", InboxFilter(), 0)


async def test_what_is_discarded_is_kept_and_comes_back(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await broken(ingest_db, b"[1,", b"")
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = InboxFilter(site.project_id, reason="empty")
        made = await inbox_decisions.discard(conn, "dead-letters", wanted, "a test", "somebody")
    assert (made.found, made.wanted["reason"], made.reason, made.actor) == (1, "empty", "a test", "somebody")
    assert await states(ingest_db) == {"waiting": 1, "discarded": 1}
    await broken(ingest_db, b"")
    assert await states(ingest_db) == {"waiting": 1, "discarded": 1}
    assert await replay.run(ingest_db, replay_of("dead-letters", InboxFilter())) == replay.Replayed(0, 1)
    with pytest.raises(NotFound):
        async with worker_db.transaction(SYSTEM) as conn:
            await inbox_decisions.discard(conn, "dead-letters", wanted, "again", "somebody")
    assert len(await rows(ingest_db, "SELECT FROM inbox_decision")) == 1
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await inbox_decisions.undo(conn, made.id, "another")).undone_by == "another"
    assert await states(ingest_db) == {"waiting": 2}
    with pytest.raises(Conflict):
        async with worker_db.transaction(SYSTEM) as conn:
            await inbox_decisions.undo(conn, made.id, "another")


async def test_discarded_readings_are_not_claimed_and_wait_since_they_came(
    ingest_db: Database, owner_db: Database, worker_db: Database, site: Site
) -> None:
    await Writer(ingest_db).store([message(1, hourly("spare", 0, [1, 2]) + hourly("newcomer", 0, [3]))])
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE unclaimed_reading SET received_at = '2026-02-01Z'")
    everything = replay_of("unclaimed-readings", InboxFilter())
    assert await replay.count(ingest_db, everything) == {"unbound": 2, "unknown-device": 1}
    assert await replay.run(ingest_db, everything) == replay.Replayed(0, 3)
    received = await rows(ingest_db, "SELECT DISTINCT received_at FROM unclaimed_reading")
    assert [row["received_at"] for row in received] == [datetime(2026, 2, 1, tzinfo=UTC)]
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = InboxFilter(site.project_id, device_code="spare")
        made = await inbox_decisions.discard(conn, "unclaimed-readings", wanted, "a trial", "somebody")
        assert made.found == 2
        meter = await metering.create_meter(
            conn, site.project_id, "E9", "electricity", None, 10**9, 60_000, datetime.now(UTC).date()
        )
        await devices.bind(conn, site.spare, meter.id, datetime(2025, 1, 1, tzinfo=UTC))
    assert await rows(worker_db, "SELECT kind FROM job") == []
    assert await replay.run(ingest_db, everything) == replay.Replayed(0, 1)
    async with worker_db.transaction(SYSTEM) as conn:
        await inbox_decisions.undo(conn, made.id, "somebody")
    only = replay_of("unclaimed-readings", InboxFilter(site.project_id, device_code="spare"), 1)
    assert await replay.run(ingest_db, only) == replay.Replayed(1, 0)
    assert await replay.run(ingest_db, everything) == replay.Replayed(1, 1)
    assert await rows(ingest_db, "SELECT value FROM store.reading ORDER BY value") == [{"value": 1}, {"value": 2}]


async def test_a_clock_that_was_ahead_is_corrected(ingest_db: Database, worker_db: Database, site: Site) -> None:
    now = now_ms() // 1000 * 1000
    ahead = [
        Point("m1", CHANNEL, now + 2 * HOUR_S * 1000, 7, Quality.RESTORED),
        Point("m1", CHANNEL, now + 9 * HOUR_S * 1000, 8, 0),
        Point("m2", CHANNEL, now + 2 * HOUR_S * 1000, 9, 0),
    ]
    await Writer(ingest_db).store([message(1, ahead)])
    assert await replay.run(ingest_db, replay_of("unclaimed-readings", InboxFilter())) == replay.Replayed(0, 0)
    async with worker_db.transaction(SYSTEM) as conn:
        listed = (await devices.list_unclaimed(conn, PageRequest(), InboxFilter(device_code="m1"))).items
        assert [(one.reason, one.readings) for one in listed] == [("clock", 2)]
        assert 2 * HOUR_S - 60 <= listed[0].ahead_s <= 2 * HOUR_S
        named = InboxFilter(site.project_id, gateway_code="gw-1", device_code="m1")
        for wanted, by in ((InboxFilter(site.project_id), HOUR_S), (named, 0)):
            with pytest.raises(InvalidInput):
                await inbox_decisions.correct_clock(conn, wanted, timedelta(seconds=by), "?", "somebody")
        made = await inbox_decisions.correct_clock(conn, named, timedelta(hours=2), "DST", "somebody")
    assert made.found == 1
    [job] = await rows(worker_db, "SELECT id, payload FROM job")
    context = JobContext(job["id"], site.project_id, job["payload"], worker_db)
    from cloud.metering.jobs import claim_readings

    assert await claim_readings(context) == {"tried": 1, "placed": 1}
    stored = await rows(
        worker_db, "SELECT meter_id, (extract(epoch FROM taken_at) * 1000)::bigint AS at, value, quality FROM reading"
    )
    flags = int(Quality.RESTORED | Quality.ESTIMATED_CLOCK)
    assert stored == [{"meter_id": site.meters[0], "at": now, "value": 7, "quality": flags}]
    assert (await rows(worker_db, "SELECT count(*) AS n FROM unclaimed_reading"))[0]["n"] == 2


async def test_a_replay_job_may_run_twice_and_tells_its_progress(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await Writer(ingest_db).store([message(1, hourly("m1", 0, [5]), "gw-9")])
    await broken(ingest_db, b"[1,")
    async with worker_db.transaction(SYSTEM) as conn:
        await devices.create_gateway(conn, site.project_id, "gw-9", "New")
        since = datetime.now(UTC) - timedelta(days=1)
        asked = replay_of("dead-letters", InboxFilter(site.project_id, since=since), 10)
        assert Replay.of(asked.payload()) == asked
        job_id = await replays.ask(conn, asked)
        assert await replays.ask(conn, asked) == job_id
        await conn.execute("UPDATE job SET state = 'running', attempts = 1 WHERE id = %s", (job_id,))
    context = JobContext(job_id, site.project_id, asked.payload(), worker_db)
    assert await jobs.HANDLERS[REPLAY](context) == {"stored": 1, "kept": 1}
    [job] = await rows(worker_db, "SELECT progress, total FROM job WHERE kind = 'ingest.replay'")
    assert job == {"progress": 2, "total": 2}
    assert await jobs.HANDLERS[REPLAY](context) == {"stored": 0, "kept": 1}


async def test_staff_replay_discard_and_take_back_by_rest(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await broken(ingest_db, b"[1,", b"[2,", b"")
    manager, viewer = await people.staff("manager", site.project_id), await people.staff("viewer", site.project_id)
    selection = {"project_id": site.project_id, "subject": "dead-letters", "reason_code": "bad-json"}
    body = {**selection, "action": "discard", "reason": "a test"}
    assert (await app_client.post("/api/v1/inbox-decisions", json=body, headers=viewer | once())).status_code == 403
    key = once()
    made = [await app_client.post("/api/v1/inbox-decisions", json=body, headers=manager | key) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert (made[0].json()["found"], made[0].json()["wanted"]["reason"]) == (2, "bad-json")
    shown = await app_client.get("/api/v1/dead-letters?state=discarded&limit=1", headers=viewer)
    assert [one["state"] for one in shown.json()["items"]] == ["discarded"]
    assert shown.json()["next_cursor"]
    undo = f"/api/v1/inbox-decisions/{made[0].json()['id']}/undo"
    assert (await app_client.post(undo, headers=manager | once())).json()["undone_by"].startswith("user:")
    assert (await app_client.post(undo, headers=manager | once())).status_code == 409
    listed = (await app_client.get("/api/v1/inbox-decisions", headers=viewer)).json()["items"]
    assert [one["undone_at"] is None for one in listed] == [False]
    counted = await app_client.post(
        "/api/v1/inbox-replays", json=selection | {"dry_run": True}, headers=manager | once()
    )
    assert counted.json() == {"job_id": None, "found": {"bad-json": 2}}
    asked = await app_client.post("/api/v1/inbox-replays", json=selection, headers=manager | once())
    assert asked.status_code == 201
    [job] = await rows(worker_db, "SELECT id, kind, project_id, payload FROM job")
    assert (job["id"], job["kind"], job["project_id"]) == (asked.json()["job_id"], REPLAY, site.project_id)
    assert Replay.of(job["payload"]).wanted == InboxFilter(site.project_id, reason="bad-json")
    clock = {**selection, "action": "correct-clock", "reason": "x"}
    assert (await app_client.post("/api/v1/inbox-decisions", json=clock, headers=manager | once())).status_code == 422


async def test_another_project_is_out_of_reach(
    app_client: httpx.AsyncClient, people: People, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await broken(ingest_db, b"[1,")
    elsewhere = await people.project()
    stranger = await people.staff("manager", elsewhere.id)
    assert (await app_client.get("/api/v1/dead-letters", headers=stranger)).json()["items"] == []
    body = {"project_id": site.project_id, "subject": "dead-letters", "action": "discard", "reason": "x"}
    refused = await app_client.post("/api/v1/inbox-decisions", json=body, headers=stranger | once())
    assert refused.status_code in (403, 404, 409, 422)
    assert await states(ingest_db) == {"waiting": 1}


async def test_the_page_filters_tries_again_discards_and_takes_back(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, ingest_db: Database, site: Site
) -> None:
    await broken(ingest_db, b"[1,", b"")
    future = Point("m1", CHANNEL, now_ms() + 2 * HOUR_S * 1000, 7, 0)
    await Writer(ingest_db).store([message(1, [*hourly("spare", 0, [1]), future])])
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    assert "/devices/inbox?subject=dead-letters" in await visitor.sees("/devices")
    assert "/devices/inbox?subject=unclaimed-readings" in await visitor.sees("/exceptions?kind=unclaimed")
    page = await visitor.sees("/devices/inbox?reason=empty")
    assert "The message is empty" in page
    assert "Try 1 again" in page
    until = re.search(r'name="until" value="([^"]+)"', page)
    assert until is not None
    fields = {"subject": "dead-letters", "until": until[1], "reason": "empty"}
    done = await visitor.sends(page, "/devices/inbox", action="replay", **fields)
    assert done.status_code == 303
    assert [row["kind"] for row in await rows(owner_db, "SELECT kind FROM job")] == [REPLAY]
    assert (await visitor.sends(page, "/devices/inbox", action="discard", **fields)).status_code == 422
    done = await visitor.sends(page, "/devices/inbox", action="discard", because="of a test", **fields)
    assert done.status_code == 303
    assert "the decision can be taken back" in await visitor.sees(done.headers["Location"])
    assert await states(owner_db) == {"waiting": 1, "discarded": 1}
    decisions = await visitor.sees("/devices/inbox/decisions")
    undo = re.search(r'action="(/devices/inbox/decisions/\d+/undo)"', decisions)
    assert undo is not None
    assert "of a test" in decisions
    assert (await visitor.sends(decisions, undo[1])).status_code == 303
    assert await states(owner_db) == {"waiting": 2}
    waiting = await visitor.sees("/devices/inbox?subject=unclaimed-readings&device=m1")
    assert "The clock was ahead by" in waiting
    assert "spare" not in waiting
    corrected = await visitor.sends(
        waiting, "/devices/inbox/correct-clock", gateway="gw-1", device="m1", ahead_s=str(2 * HOUR_S),
        because="DST", until=datetime.now(UTC).isoformat(),
    )  # fmt: skip
    assert corrected.status_code == 303
    assert "Readings placed 7200 seconds earlier" in await visitor.sees("/devices/inbox/decisions")


async def test_what_came_after_the_page_is_left_alone(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, ingest_db: Database, site: Site
) -> None:
    await broken(ingest_db, b"[1,")
    visitor = await browser(app_client, owner_db, await people.staff("manager", site.project_id))
    page = await visitor.sees("/devices/inbox")
    until = re.search(r'name="until" value="([^"]+)"', page)
    assert until is not None
    await broken(ingest_db, b"[2,")
    await visitor.sends(page, "/devices/inbox", action="discard", because="x", subject="dead-letters", until=until[1])
    assert await states(owner_db) == {"waiting": 1, "discarded": 1}
