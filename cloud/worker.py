"""The worker process: runs jobs, and while it leads also enqueues the scheduled ones."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import psycopg
import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from psycopg import AsyncConnection

from cloud.features import rooms
from cloud.kit.db import SYSTEM, Database
from cloud.kit.garbage import keep_what_is_loaded
from cloud.kit.jobs import Handler, JobRunner, Scheduled, enqueue
from cloud.kit.security import Keys, Sealer
from cloud.notices.sending import Encloser, Mailer
from cloud.notices.smtp import mail_server
from cloud.parking import service as parking
from cloud.parking.pictures.asking import PictureAsker
from cloud.parking.pictures.links import Links
from cloud.payments.channels.configuration import new_client, open_channels
from cloud.payments.collecting import Collector
from cloud.payments.reconciliation.taking import Reconciler
from cloud.settings import CloudSettings
from cloud.webhooks.delivering import Deliverer, DeliveryRules

_LEADER_LOCK = 0x67_6D_03  # "gm", leader
_LOOK_AGAIN_S = 5.0

_log = structlog.get_logger(__name__)


class DuplicateJobKind(RuntimeError):
    """Two features handle the same kind of job."""


def all_handlers() -> dict[str, Handler]:
    """The handlers of all features. Raises DuplicateJobKind."""
    handlers: dict[str, Handler] = {}
    for module in rooms("jobs"):
        found: Mapping[str, Handler] = module.HANDLERS
        for kind, handler in found.items():
            if kind in handlers:
                raise DuplicateJobKind(f"{kind} is handled twice, also by {module.__name__}")
            handlers[kind] = handler
    return handlers


def all_schedules() -> list[Scheduled]:
    """What all features want done regularly."""
    return [scheduled for module in rooms("jobs") for scheduled in getattr(module, "SCHEDULE", ())]


def urgent_kinds() -> frozenset[str]:
    """Kinds of job that wait for no other, of all features."""
    return frozenset(kind for module in rooms("jobs") for kind in getattr(module, "URGENT", ()))


def all_enclosers() -> dict[str, Encloser]:
    """What notices of a kind carry beside their words, of all features."""
    return {kind: encloser for module in rooms("enclosures") for kind, encloser in module.ENCLOSERS.items()}


async def serve(settings: CloudSettings) -> None:
    """Works, sends webhooks and notices, collects payments, takes statements, asks for pictures until SIGTERM, SIGINT.

    Raises KeysError, SettingsError; BadKeyFile and InvalidFile for providers of payments.
    """
    keep_what_is_loaded()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    keys = Keys.load(settings.keys_file)
    sealer, server = Sealer(keys), mail_server(settings)
    async with (
        Database(settings.dsn(), "gatemeter_worker", max_size=settings.database_pool) as db,
        new_client() as client,
        asyncio.TaskGroup() as group,
    ):
        channels = open_channels(settings.payments_file, settings.public_url, client)
        group.create_task(work(db, stop, concurrency=settings.worker_concurrency))
        group.create_task(Deliverer(db, sealer, DeliveryRules(private=settings.webhooks_private)).run(stop))
        group.create_task(Collector(db, channels, takers={"parking": parking.take_paid}).run(stop))
        # Beside the collector: taking what is paid now waits for no statement.
        group.create_task(Reconciler(db, channels).run(stop))
        group.create_task(PictureAsker(db, Links(keys, settings.public_url)).run(stop))
        group.create_task(Mailer(db, server, all_enclosers(), settings.public_url).run(stop))


async def work(db: Database, stop: asyncio.Event, *, concurrency: int = 2) -> None:
    """Runs jobs, and leads when nobody else does, until `stop` is set."""
    handlers, schedules, at_once = all_handlers(), all_schedules(), urgent_kinds()
    urgent = {kind: handler for kind, handler in handlers.items() if kind in at_once}
    ordinary = {kind: handler for kind, handler in handlers.items() if kind not in at_once}
    _log.info("worker.started", kinds=sorted(handlers))
    async with asyncio.TaskGroup() as group:
        group.create_task(JobRunner(db, ordinary, concurrency=concurrency).run(stop))
        # A slot of its own: long runs of bills keep no home dark.
        group.create_task(JobRunner(db, urgent, concurrency=1).run(stop))
        group.create_task(lead(db, schedules, stop))
    _log.info("worker.stopped")


async def lead(
    db: Database, schedules: Sequence[Scheduled], stop: asyncio.Event, *, look_again_s: float = _LOOK_AGAIN_S
) -> None:
    """Enqueues scheduled jobs while this process holds the leader's lock; the lock ends with its connection."""
    while not stop.is_set():
        try:
            async with AsyncExitStack() as stack:
                conn = await stack.enter_async_context(await AsyncConnection.connect(db.dsn, autocommit=True))
                if await _became_leader(conn):
                    _log.info("worker.leads", schedules=len(schedules))
                    scheduler = _scheduler(db, schedules)
                    scheduler.start()
                    stack.callback(scheduler.shutdown, wait=False)
                    await _hold(conn, stop, look_again_s)
        except psycopg.OperationalError as error:
            _log.warning("worker.leader_connection_lost", error=str(error).strip())
        await _pause(stop, look_again_s)


async def _became_leader(conn: AsyncConnection[tuple[object, ...]]) -> bool:
    row = await (await conn.execute("SELECT pg_try_advisory_lock(%s)", (_LEADER_LOCK,))).fetchone()
    return row is not None and bool(row[0])


async def _hold(conn: AsyncConnection[tuple[object, ...]], stop: asyncio.Event, look_again_s: float) -> None:
    while not stop.is_set():
        await conn.execute("SELECT 1")  # a dead connection holds no lock: notice it before the next schedule
        await _pause(stop, look_again_s)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _scheduler(db: Database, schedules: Sequence[Scheduled]) -> AsyncIOScheduler:
    scheduler = AsyncIOScheduler(timezone="UTC", job_defaults={"coalesce": True, "misfire_grace_time": 300})
    for scheduled, trigger in zip(schedules, triggers(schedules), strict=True):
        scheduler.add_job(_enqueue_scheduled, trigger, args=(db, scheduled))
    return scheduler


def triggers(schedules: Sequence[Scheduled]) -> list[CronTrigger]:
    """When each is due: in the minutes that it says, at a second of its own.

    All at the full minute would take both cores of a small machine for half a second, and so long a vehicle at an exit
    would wait for its price.
    """
    found = []
    for nth, scheduled in enumerate(schedules):
        minute, hour, day, month, weekday = scheduled.cron.split()
        found.append(
            CronTrigger(
                second=60 * nth // len(schedules), minute=minute, hour=hour, day=day, month=month,
                day_of_week=weekday, timezone="UTC",
            )
        )  # fmt: skip
    return found


async def _enqueue_scheduled(db: Database, scheduled: Scheduled) -> None:
    async with db.transaction(SYSTEM.named("schedule")) as conn:
        await enqueue(conn, scheduled.kind, scheduled.payload, dedupe_key=f"schedule:{scheduled.cron}")
