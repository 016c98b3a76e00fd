"""The loop of a worker that sends notices: each by one worker at a time, at least once until it ends."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Final

import psycopg
import structlog
from prometheus_client import Counter
from psycopg_pool import PoolTimeout

from cloud.estate import service as estate
from cloud.kit.backoff import BackOff
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.notices import outbox_repository, service
from cloud.notices.addresses import checked, masked, without
from cloud.notices.letters import letter, one_line
from cloud.notices.records import NOTHING, Due, Enclosure, Notice
from cloud.notices.smtp import MailServer, NotSent, Session, Trouble

_log = structlog.get_logger(__name__)
_ATTEMPTS = Counter("gatemeter_notice_attempts", "Attempts to send a notice by e-mail, by outcome.", ["outcome"])

_ASKER: Final = SYSTEM.named("notices")
_SWEPT: Final = 500

Encloser = Callable[[Database, Asker, Notice, str | None], Awaitable[Enclosure]]
"""Writes what a kind of notice carries, when it is sent: opens its own transactions; the last is the public address."""


@dataclass(frozen=True, slots=True)
class SendingRules:
    """Limits of the sending; times in seconds."""

    sessions: int = 2
    poll_s: float = 2.0
    back_off: BackOff = BackOff(first_s=60, factor=3, longest_s=14_400, tries=10)  # noqa: RUF009 - frozen
    """About a day, with the pauses between the tries."""
    server_pause: BackOff = BackOff(first_s=5, factor=2, longest_s=300, tries=2**31)  # noqa: RUF009 - frozen
    give_up_after: timedelta = timedelta(days=5)
    """RFC 5321, 4.5.4.1: how long one waits for a server that cannot be used."""


class Mailer:
    """Sends what is due by e-mail; without a server it says so on every notice. Any number of them may run."""

    def __init__(
        self,
        db: Database,
        server: MailServer | None,
        enclosers: Mapping[str, Encloser],
        public_url: str | None,
        rules: SendingRules | None = None,
    ) -> None:
        self._db = db
        self._server = server
        self._enclosers = dict(enclosers)
        self._public_url = public_url
        self._rules = rules or SendingRules()

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set; what is being sent is finished first, which the server's timeout bounds."""
        if self._server is None:
            await self._guarded(stop, self._say_mail_is_off)
            return
        async with asyncio.TaskGroup() as group:
            for _number in range(self._rules.sessions):
                group.create_task(self._line(stop, self._server))

    async def _line(self, stop: asyncio.Event, server: MailServer) -> None:
        async with Session(server) as session:
            line = _Line(session, server)
            await self._guarded(stop, lambda: self._next(line))

    async def _guarded(self, stop: asyncio.Event, step: Callable[[], Awaitable[float]]) -> None:
        """Repeats `step`, which says how many seconds to wait, until `stop`; the database may be away meanwhile."""
        while not stop.is_set():
            try:
                pause_s = await step()
            except (psycopg.OperationalError, PoolTimeout) as error:
                _log.warning("notices.database_lost", error=str(error).strip())
                pause_s = self._rules.poll_s
            if pause_s:
                await _pause(stop, pause_s)

    async def _say_mail_is_off(self) -> float:
        async with self._db.transaction(_ASKER) as conn:
            found = await outbox_repository.mail_is_off(conn, _SWEPT)
        if found:
            _log.warning("notices.mail_is_off", notices=found)
        return 0 if found == _SWEPT else self._rules.poll_s

    async def _next(self, line: "_Line") -> float:
        """Sends one notice; how long to wait before the next one."""
        due = await self._claim(line.server)
        if due is None:
            await line.session.close()  # servers end idle sessions, and not all of them politely
            return self._rules.poll_s
        message, address = await self._written(due, line.server)
        if message is None:
            return 0
        try:
            await line.session.send(message, address)
        except NotSent as error:
            return await self._not_sent(due, error.trouble, without(address, str(error)), line)
        line.failures = 0
        _ATTEMPTS.labels("sent").inc()
        # A worker that dies between the server's answer and this commit sends it once more, with the same Message-ID.
        await self._end(due.notice, "sent", sent_to=masked(address))
        return 0

    async def _claim(self, server: MailServer) -> Due | None:
        lease_s = int(server.timeout_s * 4) + 60
        async with self._db.transaction(_ASKER) as conn:
            notice_id = await outbox_repository.claim(conn, lease_s)
            if notice_id is None:
                return None
            notice = await service.get_notice(conn, notice_id)
            address = (await estate.emails_of(conn, [notice.person_id])).get(notice.person_id)
            settings = await service.get_settings(conn, notice.project_id)
            wanted = (await service.preferences(conn, notice.project_id, [notice.person_id]))[notice.person_id]
            project = await estate.get_project(conn, notice.project_id)
        if notice.attempts > 1 and notice.reason == "" and notice.error == "":
            _log.warning("notices.left_behind", notice=notice.id)
        return Due(notice, address, project.name, settings, wanted)

    async def _written(self, due: Due, server: MailServer) -> tuple[EmailMessage | None, str]:
        """The message and its checked address; no message when there is none to be sent, which is kept."""
        notice = due.notice
        reason = service.why_not(notice.kind, due.settings, due.wanted, due.address is not None)
        if reason:
            await self._end(notice, "suppressed", reason)
            return None, ""
        try:
            address = checked(due.address or "")
        except InvalidInput:
            await self._end(notice, "given_up", "bad-address")
            return None, ""
        try:
            enclosure = await self._enclosed(notice)
            with service.speaking(notice.language):
                return letter(due, address, server.sender, datetime.now(UTC), self._public_url, enclosure), address
        except GatemeterError as error:
            await self._later(notice, "not-written", f"{error.code}: {error.detail}")
        except Exception as error:  # noqa: BLE001 - the door of all features' enclosures: one that breaks stops no other
            _log.exception("notices.not_written", notice=notice.id)
            await self._later(notice, "not-written", f"{type(error).__name__}: {error}")
        return None, ""

    async def _enclosed(self, notice: Notice) -> Enclosure:
        encloser = self._enclosers.get(notice.kind)
        return NOTHING if encloser is None else await encloser(self._db, _ASKER, notice, self._public_url)

    async def _not_sent(self, due: Due, trouble: Trouble, detail: str, line: "_Line") -> float:
        notice = due.notice
        _ATTEMPTS.labels(trouble).inc()
        if trouble == "refused":
            await self._end(notice, "given_up", "refused", detail)
            return 0
        if trouble != "unreachable":
            await self._later(notice, trouble, detail)
            return 0
        line.failures += 1
        _log.warning("notices.server_unreachable", host=line.server.host, error=detail, failures=line.failures)
        pause_s = self._rules.server_pause.delay_s(line.failures, secrets.randbelow(1000)) or 0
        if datetime.now(UTC) - notice.queued_at > self._rules.give_up_after:
            await self._end(notice, "given_up", "too-old", detail)
        else:
            async with self._db.transaction(_ASKER) as conn:
                await outbox_repository.put_back(conn, notice.id, notice.attempts, "unreachable", detail, pause_s)
        return pause_s

    async def _later(self, notice: Notice, reason: str, error: str) -> None:
        delay_s = self._rules.back_off.delay_s(notice.attempts, secrets.randbelow(1000))
        if delay_s is None:
            await self._end(notice, "given_up", reason, error)
            return
        async with self._db.transaction(_ASKER) as conn:
            await outbox_repository.later(conn, notice.id, notice.attempts, reason, one_line(error), delay_s)

    async def _end(self, notice: Notice, state: str, reason: str = "", error: str = "", sent_to: str = "") -> None:
        async with self._db.transaction(_ASKER) as conn:
            await outbox_repository.end(conn, notice.id, notice.attempts, state, reason, one_line(error), sent_to)
        if state == "given_up":
            _log.warning("notices.given_up", notice=notice.id, project=notice.project_id, reason=reason)


@dataclass(slots=True)
class _Line:
    """One session and how often in a row the server could not be used."""

    session: Session
    server: MailServer
    failures: int = 0


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
