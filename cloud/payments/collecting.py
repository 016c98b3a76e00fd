"""The worker's side of paying by a provider: orders are made, asked after, closed; what was paid is booked once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final

import psycopg
import structlog
from prometheus_client import Counter
from psycopg_pool import PoolTimeout

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.periods import local_day
from cloud.payments import intent_repository as repository
from cloud.payments.channels.base import Channel, Paid, ProviderRefused, ProviderUnavailable
from cloud.payments.channels.configuration import Channels
from cloud.payments.giving_back import give_back
from cloud.payments.intent_records import AsideReason, Intent, IntentPurpose, IntentState, KeptCallback
from cloud.payments.service import record_payment

_log = structlog.get_logger(__name__)
_BOOKED = Counter(
    "gatemeter_online_payments", "What providers said was paid, by channel and outcome.", ["channel", "to"]
)

_ASKER: Final = SYSTEM.named("online-payments")
_AT_ONCE: Final = 16
_LEASE: Final = timedelta(seconds=60)
_POLL_S: Final = 1
_FIRST_PAUSE_S: Final = 3
_LONGEST_PAUSE_S: Final = 60
_DOUBLED_EVERY: Final = 3
"""Looks with one pause between them; the next ones wait twice as long."""
_OVERTIME: Final = timedelta(seconds=30)
"""A payment begun just before the end may take so long."""

Taker = Callable[[Conn, Intent, Paid, date, datetime], Awaitable[int]]
"""Books money that was paid for an intent on a local day, as seen at an instant, and returns the payment's id."""


class Collector:
    """Looks after open intents and takes what providers told us. Any number of them may run.

    `takers`: who books what is no payment of an account; all of them take money that came too late, too.
    """

    def __init__(
        self,
        db: Database,
        channels: Channels,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        takers: Mapping[IntentPurpose, Taker] | None = None,
    ):
        self._db = db
        self._takers = dict(takers or {})
        self._channels = channels
        self._now = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set; without channels there is nothing to do."""
        while self._channels and not stop.is_set():
            try:
                await self.step()
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("payments.database_lost", error=str(error).strip())
            try:
                async with asyncio.timeout(_POLL_S):
                    await stop.wait()
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Takes all that was told, looks at all intents whose time has come, and returns how many those were."""
        await self._take_callbacks()
        await give_back(self._db, self._channels, _ASKER, self._now())
        async with self._db.transaction(_ASKER) as conn:
            due = await repository.claim(conn, sorted(self._channels), self._now(), _AT_ONCE, _LEASE)
        await asyncio.gather(*(self._guarded(one) for one in due))
        return len(due)

    async def _guarded(self, intent: Intent) -> None:
        try:
            await self._look(intent, self._channels[intent.channel])
        except (ProviderUnavailable, ProviderRefused) as error:
            code, refused = error.code, isinstance(error, ProviderRefused)
            _log.warning("payments.provider_failed", reference=intent.reference, code=code, refused=refused)
            if refused and intent.state == "created":
                await self._write(lambda conn: repository.end(conn, intent.id, "failed", code))
            else:
                await self._write(lambda conn: repository.later(conn, intent.id, self._next(intent), code))

    async def _look(self, intent: Intent, channel: Channel) -> None:
        over = self._now() >= intent.expires_at + _OVERTIME
        if intent.state == "created" and not intent.cancel_asked and not over:
            pay_at = await channel.place(intent.order())
            look_at = self._now() + timedelta(seconds=_FIRST_PAUSE_S)
            await self._write(lambda conn: repository.placed(conn, intent.id, pay_at, look_at))
            return
        seen = await channel.query(intent.reference)
        if seen.paid is not None:
            await self._told_by_query(intent, seen.paid)
        elif seen.trade == "closed" or over or (intent.cancel_asked and seen.trade == "waiting"):
            if seen.trade == "waiting":
                await channel.close(intent.reference)
            await self._end(intent, over=over)
        elif intent.cancel_asked and intent.state == "created":
            # It may have reached the provider all the same: closed there, it is gone.
            await channel.close(intent.reference)
            await self._end(intent, over=over)
        else:
            await self._write(lambda conn: repository.later(conn, intent.id, self._next(intent)))

    async def _end(self, intent: Intent, *, over: bool) -> None:
        state: IntentState = "cancelled" if intent.cancel_asked else "expired" if over else "failed"
        failure = "closed-by-provider" if state == "failed" else None
        await self._write(lambda conn: repository.end(conn, intent.id, state, failure))

    async def _told_by_query(self, intent: Intent, paid: Paid) -> None:
        """What a question brings to light goes the way of what is told: a lost callback loses nothing."""
        event_id = f"query:{paid.reference}:{paid.provider_id}"
        await self._write(lambda conn: repository.keep_callback(conn, intent.channel, event_id, paid))
        await self._take_callbacks()
        # Where it did not fit, somebody has to look; the provider has nothing more to say.
        await self._write(lambda conn: repository.end_unfit(conn, intent.id))

    async def _take_callbacks(self) -> None:
        last = 0
        while True:
            try:
                async with self._db.transaction(_ASKER) as conn:
                    told = await repository.next_callback(conn, last)
                    if told is None:
                        return
                    last = told.id
                    await _take(conn, told, self._now(), self._takers)
            except psycopg.OperationalError:
                raise
            except (GatemeterError, psycopg.Error) as error:
                # It stays as it came and is tried again; nobody else's money waits for it.
                _log.error("payments.not_booked", callback=last, error=str(error).strip())

    async def _write(self, change: Callable[[Conn], Awaitable[object]]) -> None:
        async with self._db.transaction(_ASKER) as conn:
            await change(conn)

    def _next(self, intent: Intent) -> datetime:
        """When it is looked at again: soon at first, later less often, and when its time is over."""
        pause = min(_FIRST_PAUSE_S * 2 ** min(intent.looks // _DOUBLED_EVERY, 16), _LONGEST_PAUSE_S)
        return self._now() + timedelta(seconds=pause)


async def _take(conn: Conn, told: KeptCallback, now: datetime, takers: Mapping[IntentPurpose, Taker]) -> None:
    """Books what was paid, or keeps it aside with the reason, in one transaction with the callback itself."""
    intent = await repository.locked(conn, told.reference)
    if intent is not None and intent.state == "paid" and intent.provider_id == told.provider_id:
        await repository.seen_to(conn, told.id, "repeated", intent.id)
        return
    reason = _unfit(intent, told)
    if intent is not None and intent.purpose in takers and reason in ("order-over", "paid-already"):
        await _take_late(conn, intent, told, now, takers[intent.purpose])
        return
    if reason is None and await repository.is_booked(conn, told):
        reason = "paid-already"
    if reason is not None and await repository.was_aside(conn, told):
        # A provider tells of the same money in several notices, and so does a question: somebody looks at it once.
        await repository.seen_to(conn, told.id, "repeated", None if intent is None else intent.id)
        return
    if reason is not None:
        _BOOKED.labels(told.channel, "aside").inc()
        _log.error("payments.kept_aside", callback=told.id, channel=told.channel, reason=reason)
        await repository.seen_to(conn, told.id, "aside", None if intent is None else intent.id, reason)
        return
    assert intent is not None
    payment_id = await _booked(conn, intent, told, now, takers)
    await repository.mark_paid(conn, intent.id, told.paid(), payment_id)
    await repository.seen_to(conn, told.id, "used", intent.id)
    _BOOKED.labels(told.channel, "booked").inc()


async def _booked(
    conn: Conn, intent: Intent, told: KeptCallback, now: datetime, takers: Mapping[IntentPurpose, Taker]
) -> int:
    paid_on = await _paid_on(conn, intent, told, now)
    if intent.account_id is None or intent.purpose == "parking":
        if intent.purpose not in takers:
            raise InvalidInput("bad-purpose", f"nobody here books {intent.purpose}", field="purpose")
        return await takers[intent.purpose](conn, intent, told.paid(), paid_on, now)
    recorded = await record_payment(
        conn,
        intent.account_id,
        intent.amount,
        intent.channel,
        paid_on,
        told.provider_id,
        intent.created_by,
        purpose=intent.purpose,
    )
    return recorded.payment.id


async def _take_late(conn: Conn, intent: Intent, told: KeptCallback, now: datetime, taker: Taker) -> None:
    """Money for an order that is over, or was paid before: it is booked all the same, and what is too much given back.

    The intent stays what it became. The same money told twice is booked once.
    """
    if await repository.was_used(conn, told):
        await repository.seen_to(conn, told.id, "repeated", intent.id)
        return
    if told.currency != intent.currency:
        await repository.seen_to(conn, told.id, "aside", intent.id, "amount-differs")
        return
    _log.warning("payments.late", callback=told.id, channel=told.channel, intent=intent.state)
    await taker(conn, intent, told.paid(), await _paid_on(conn, intent, told, now), now)
    await repository.seen_to(conn, told.id, "used", intent.id)
    _BOOKED.labels(told.channel, "late").inc()


async def _paid_on(conn: Conn, intent: Intent, told: KeptCallback, now: datetime) -> date:
    """The local day of a payment; a provider's clock may be ahead of ours."""
    zone = (await estate.get_project(conn, intent.project_id)).zone
    return min(local_day(told.paid_at, zone), local_day(now, zone))


def _unfit(intent: Intent | None, told: KeptCallback) -> AsideReason | None:
    """Why money that was paid cannot be that of the order; None: it is."""
    if intent is None or intent.channel != told.channel:
        return "unknown-order"
    if intent.state == "paid":
        return "paid-already"
    if not intent.open:
        return "order-over"
    if (intent.amount, intent.currency) != (told.amount, told.currency):
        return "amount-differs"
    return None
