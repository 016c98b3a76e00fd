"""Deliveries to a real HTTP peer that fails in every way, and events from what really happens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.security import Keys, Sealer
from cloud.metering.live import batches as live_batches
from cloud.metering.live import jobs as live_jobs
from cloud.webhooks import delivery_repository, service
from cloud.webhooks.delivering import Deliverer, DeliveryRules
from cloud.webhooks.records import Delivery, DeliveryFilter, Webhook
from tests.integration.metering.site import Site, hourly, make_site, message
from tests.integration.webhooks.receiver import Receiver, answering, closing, receiving, silent

_RULES = DeliveryRules(private=True, poll_s=0.02, timeout_s=60)


@dataclass
class World:
    """A project with one webhook that leads to a receiver."""

    db: Database
    sealer: Sealer
    site: Site
    receiver: Receiver
    webhook: Webhook
    secret: str

    async def emit(self, kind: str = "usage.changed", **payload: Any) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            await service.emit(conn, self.site.project_id, kind, payload)

    async def deliveries(self) -> list[Delivery]:
        async with self.db.transaction(SYSTEM) as conn:
            page = await service.list_deliveries(conn, PageRequest(), DeliveryFilter())
        return list(page.items)

    async def hook(self) -> Webhook:
        async with self.db.transaction(SYSTEM) as conn:
            return await service.get_webhook(conn, self.webhook.id)

    async def sql(self, statement: Any, *values: object) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            await conn.execute(statement, values)

    async def until(self, what: Callable[[], Awaitable[bool]], rules: DeliveryRules = _RULES) -> None:
        """Runs a deliverer until `what` is so."""
        async with self.delivering(rules), asyncio.timeout(60):
            while not await what():
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def delivering(self, rules: DeliveryRules = _RULES) -> AsyncIterator[None]:
        stop = asyncio.Event()
        task = asyncio.create_task(Deliverer(self.db, self.sealer, rules).run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def ended(self) -> bool:
        found = await self.deliveries()
        return bool(found) and all(one.state != "waiting" for one in found)

    async def tried(self) -> bool:
        found = await self.deliveries()
        return bool(found) and all(one.response_code is not None or one.error for one in found)


@pytest.fixture
async def world(worker_db: Database, keys: Keys) -> AsyncIterator[World]:
    site, sealer = await make_site(worker_db), Sealer(keys)
    async with receiving() as receiver:
        async with worker_db.transaction(SYSTEM) as conn:
            kinds = ["usage.changed", "reading.stored", "exception.opened", "exception.decided"]
            made, secret = await service.create_webhook(
                conn, sealer, site.project_id, receiver.url, kinds, "test", None, private=True
            )
        yield World(worker_db, sealer, site, receiver, made, secret)


async def test_an_event_arrives_once_and_signed(world: World) -> None:
    await world.emit(changes=[{"meter_id": 1}])
    await world.until(world.ended)
    (got,) = world.receiver.received
    assert got.is_signed_with(world.secret)
    assert not got.is_signed_with("whsec_" + "A" * 43 + "=")
    assert (got.path, got.content["type"], got.content["data"]) == (
        "/hook", "usage.changed", {"changes": [{"meter_id": 1}]},
    )  # fmt: skip
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts, delivery.response_code) == ("delivered", 1, 204)
    assert got.headers["webhook-id"] == f"evt_{delivery.event_id.hex}"


async def test_what_is_rolled_back_is_not_told(world: World) -> None:
    async with world.db.transaction(SYSTEM) as conn, conn.transaction(force_rollback=True):
        assert await service.emit(conn, world.site.project_id, "usage.changed", {}) is not None
    assert await world.deliveries() == []


async def test_nobody_is_told_what_he_did_not_subscribe_to(world: World) -> None:
    async with world.db.transaction(SYSTEM) as conn:
        await service.change_webhook(conn, world.webhook.id, kinds=["exception.opened"])
        assert await service.emit(conn, world.site.project_id, "usage.changed", {}) is None
        with pytest.raises(ValueError, match="no kind of event"):
            await service.emit(conn, world.site.project_id, "weather.changed", {})


@pytest.mark.parametrize(
    ("behaviour", "code", "error"),
    [
        (answering("500 Internal Server Error"), 500, "HTTP 500"),
        (answering("302 Found", "Location: http://127.0.0.1:1/elsewhere"), 302, "HTTP 302"),
        (closing, None, "RemoteProtocolError"),
        (silent, None, "no answer within 0.3 s"),
    ],
)
async def test_what_fails_is_tried_again_with_the_same_id(
    world: World, behaviour: Any, code: int | None, error: str
) -> None:
    world.receiver.behaviour = behaviour
    await world.emit()
    await world.until(world.tried, replace(_RULES, timeout_s=0.3) if behaviour is silent else _RULES)
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts, delivery.response_code) == ("waiting", 1, code)
    assert delivery.error.startswith(error)
    assert (await world.hook()).failing_since is not None
    world.receiver.behaviour = answering("200 OK")
    await world.sql("UPDATE webhook_delivery SET next_try_at = now()")
    await world.until(world.ended)
    first, second = world.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (first.body, first.path) == (second.body, second.path)
    assert (await world.hook()).failing_since is None


async def test_after_the_last_try_it_is_given_up_and_can_be_sent_again(world: World) -> None:
    world.receiver.behaviour = answering("500 No")
    await world.emit()
    await world.sql("UPDATE webhook_delivery SET attempts = 13")
    await world.until(world.ended)
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts) == ("dead", 14)
    world.receiver.behaviour = answering("200 OK")
    async with world.db.transaction(SYSTEM) as conn:
        assert (await service.send_again(conn, delivery.id)).state == "waiting"
    await world.until(world.ended)
    assert [one.state for one in await world.deliveries()] == ["delivered"]


async def test_a_webhook_that_fails_for_days_is_stopped_and_one_that_is_gone_at_once(world: World) -> None:
    world.receiver.behaviour = answering("500 No")
    await world.sql("UPDATE webhook SET failing_since = now() - interval '6 days'")
    await world.emit()
    await world.until(world.tried)
    assert (await world.hook()).stopped_because == "failing"
    await world.emit()  # a stopped webhook gets nothing new
    assert len(await world.deliveries()) == 1
    async with world.db.transaction(SYSTEM) as conn:
        again = await service.change_webhook(conn, world.webhook.id, active=True)
    assert (again.active, again.failing_since) == (True, None)
    world.receiver.behaviour = answering("410 Gone")
    await world.sql("UPDATE webhook_delivery SET next_try_at = now()")

    async def stopped() -> bool:
        return not (await world.hook()).active

    await world.until(stopped)
    assert (await world.hook()).stopped_because == "gone"


async def test_private_addresses_get_nothing_unless_they_may(world: World) -> None:
    await world.sql("UPDATE webhook SET url = replace(url, '127.0.0.1', 'localhost')")
    await world.emit()
    await world.until(world.tried, DeliveryRules(poll_s=0.02))
    (delivery,) = await world.deliveries()
    assert delivery.error == "Refused: the name leads to a private address"
    assert world.receiver.received == []


async def test_after_a_rotation_both_secrets_sign(world: World) -> None:
    async with world.db.transaction(SYSTEM) as conn:
        fresh = await service.rotate_secret(conn, world.sealer, world.webhook.id)
    await world.emit()
    await world.until(world.ended)
    (got,) = world.receiver.received
    assert got.is_signed_with(fresh)
    assert got.is_signed_with(world.secret)
    await world.sql("UPDATE webhook SET old_secret_until = now()")
    await world.emit()
    await world.until(world.ended)
    assert not world.receiver.received[1].is_signed_with(world.secret)


async def test_two_workers_send_each_event_once_and_a_dead_ones_lease_ends(world: World) -> None:
    for n in range(30):
        await world.emit(n=n)
    async with world.db.transaction(SYSTEM) as conn:
        taken = await delivery_repository.claim(conn, 2, 2, [], 3600)  # by a worker that then dies
    async with world.delivering(), world.delivering(), asyncio.timeout(60):
        while len(world.receiver.received) < 28:
            await asyncio.sleep(0.01)
    await world.sql("UPDATE webhook_delivery SET next_try_at = now() WHERE state = 'waiting'")
    await world.until(world.ended)
    assert sorted(one.content["data"]["n"] for one in world.receiver.received) == list(range(30))
    async with world.db.transaction(SYSTEM) as conn:
        await delivery_repository.failed(conn, taken[0], None, "the dead one speaks", 1)
    assert {one.state for one in await world.deliveries()} == {"delivered"}


async def test_stored_readings_are_told_in_batches(world: World, ingest_db: Database) -> None:
    context = JobContext(1, None, {}, world.db)
    await live_jobs.tell_stored(context)
    await Writer(ingest_db).store([message(1, [*hourly("m1", 0, [1_000, 2_000]), *hourly("m2", 0, [5_000])])])
    assert (await live_jobs.tell_stored(context))["readings"] == 3
    assert (await live_jobs.tell_stored(context))["readings"] == 0
    (delivery,) = await world.deliveries()
    readings = delivery.payload["readings"]
    assert delivery.kind == "reading.stored"
    assert [(one["meter_id"], one["value"]) for one in readings] == [
        (world.site.meters[0], {"quantity": "1.000", "unit": "kWh"}),
        (world.site.meters[0], {"quantity": "2.000", "unit": "kWh"}),
        (world.site.meters[1], {"quantity": "5.000", "unit": "kWh"}),
    ]


async def test_batches_are_kept_until_webhooks_were_told(world: World, ingest_db: Database) -> None:
    await live_jobs.tell_stored(JobContext(1, None, {}, world.db))
    await Writer(ingest_db).store([message(1, hourly("m1", 0, [1_000]))])
    async with world.db.transaction(SYSTEM) as conn:
        await live_batches.forget(conn, 0)
    async with world.db.transaction(SYSTEM) as conn:
        assert await live_batches.forget(conn, 0) == 0
        assert await live_jobs.tell_project(conn, world.site.project_id) == 1
    async with world.db.transaction(SYSTEM) as conn:
        assert await live_batches.forget(conn, 0) == 1


async def test_findings_and_changed_usage_are_told(world: World) -> None:
    project, meter = world.site.project_id, world.site.meters[0]
    await world.sql(
        """
        INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at)
        SELECT %s, %s, 1, 'gap', t, t + interval '1 hour'
        FROM generate_series(timestamptz '2026-01-01Z', '2026-01-05 06:00Z', interval '1 hour') AS t
        """,
        project, meter,
    )  # fmt: skip
    await world.sql("UPDATE meter_exception SET until_at = until_at + interval '1 hour'")  # found again, a bit longer
    await world.sql("UPDATE meter_exception SET state = 'accepted', reason = 'known' WHERE mod(id, 50) = 0")
    await world.sql(
        """
        INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
        VALUES (%s, 1, %s, now(), now())
        """,
        meter, project,
    )  # fmt: skip
    told = [(one.kind, len(next(iter(one.payload.values())))) for one in await world.deliveries()]
    assert told == [("usage.changed", 1), ("exception.decided", 2), ("exception.opened", 3), ("exception.opened", 100)]


async def test_old_deliveries_are_forgotten(world: World) -> None:
    await world.emit()
    await world.emit()
    await world.until(world.ended)
    await world.sql("UPDATE webhook_event SET created_at = now() - interval '40 days'")
    await world.sql(
        """
        UPDATE webhook_delivery SET ended_at = now() - interval '31 days'
        WHERE id = (SELECT min(id) FROM webhook_delivery)
        """
    )
    async with world.db.transaction(SYSTEM) as conn:
        assert await delivery_repository.forget(conn, 30) == (1, 1)
    assert len(await world.deliveries()) == 1
