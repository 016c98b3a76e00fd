"""Groups of messages into the database: one transaction each, one per message where a group fails because of one."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg
import structlog
from psycopg.errors import DataError, IntegrityError

from cloud.devices import configuring
from cloud.devices import service as devices
from cloud.devices.inbox import Letter
from cloud.estate import service as estate
from cloud.ingest import metrics
from cloud.ingest.messages import Configurations, Gaps, Incoming, Passages, Refused, Results, Sender
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import GatemeterError
from cloud.metering import service as metering
from cloud.metering.readings.intake import Batch, PointColumns
from cloud.metering.records import StoreResult
from cloud.parking import service as parking
from gateway.contract import limits
from gateway.contract.messages import CommandResult, Health, Rejection

UNKNOWN_GATEWAY = "unknown-gateway"
NOT_STORABLE = "not-storable"
INTERNAL_ERROR = "internal-error"

_log = structlog.get_logger(__name__)

# What a message can be at fault for. Anything else (no server, no disk, a missing table) is ours, and is tried again.
_FAULTS = (DataError, IntegrityError, GatemeterError, ValueError, LookupError, ArithmeticError)
_TRIES = 3
"""A message that this software fails on is tried so often before it is set aside."""
_ASKER = SYSTEM.named("ingest")
_LOOK_FIRST_GROUPS = 8
"""So many groups after one with known readings are compared before they are copied."""


Keep = Callable[[Conn, Sequence[Letter]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A gateway asked with `challenge` what time it is, and it was `at` (milliseconds since 1970) when it was heard."""

    project: str
    gateway: str
    challenge: str
    at: int


@dataclass(slots=True)
class Answers:
    """What may be acknowledged after a COMMIT, by sender; and who is to be told the time."""

    accepted: dict[Sender, list[int]] = field(default_factory=lambda: defaultdict(list))
    rejected: dict[Sender, list[Rejection]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)

    def add(self, other: "Answers") -> None:
        """Joins the answers of another transaction."""
        for sender, seqs in other.accepted.items():
            self.accepted[sender] += seqs
        for sender, rejections in other.rejected.items():
            self.rejected[sender] += rejections
        self.asked += other.asked

    def refuse(self, message: Refused) -> None:
        """A refusal is told to its sender when he can be told."""
        if message.sender is not None:
            self.rejected[message.sender].append(Rejection(message.seq, message.reason))


class Writer:
    """Stores groups of messages. Knows no broker: what it returns is what may be acknowledged.

    `keep` is given what cannot be taken, in the transaction that would have stored it.
    """

    def __init__(self, db: Database, keep: Keep = devices.keep_dead_letters) -> None:
        self._db = db
        self._keep = keep
        self._projects: dict[str, int] = {}
        self._looking_first = 0

    async def store(self, group: Sequence[Incoming | Refused]) -> Answers:
        """Stores a group; when it returns, everything answered is committed.

        If a message makes the transaction fail, the messages are stored one by one, and only the bad one becomes a
        dead letter and is rejected: as `not-storable` when the database refuses its content, as `internal-error` when
        this software fails on it again and again, so that no message can stop those behind it. One for which the
        database lacks something (a table, a right) gets no answer: its gateway sends it again.
        Raises psycopg.Error when the database cannot be used now, or takes none of them: nothing may be acknowledged
        then, and the group is to be stored again.
        """
        try:
            answers = await self._transaction(group)
        except psycopg.OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message brings about, the other ones are stored
            metrics.GROUPS.labels("split").inc()
            _log.warning("ingest.group_split", messages=len(group), fault=_sentence(error))
            return await self._one_by_one(group)
        metrics.GROUPS.labels("stored").inc()
        return answers

    async def _one_by_one(self, group: Sequence[Incoming | Refused]) -> Answers:
        answers, lacking = Answers(), []
        for message in group:
            try:
                answers.add(await self._alone(message))
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                _log.error("ingest.not_answered", topic=message.topic, fault=_sentence(error))
                lacking.append(error)
        if len(lacking) == len(group):
            raise lacking[0]
        return answers

    async def _alone(self, message: Incoming | Refused) -> Answers:
        """Stores one message, or the reason why it cannot be stored."""
        tries = 0
        while True:
            try:
                return await self._transaction([message])
            except _FAULTS as fault:
                return await self._set_aside(message, NOT_STORABLE, fault)
            except psycopg.Error:
                raise
            except Exception as fault:  # noqa: BLE001 - an error of ours must not stop what comes after this message
                tries += 1
                _log.exception("ingest.internal_error", topic=message.topic, tries=tries)
                if tries == _TRIES:
                    metrics.INTERNAL_ERRORS.inc()
                    return await self._set_aside(message, INTERNAL_ERROR, fault)

    async def _set_aside(self, message: Incoming | Refused, reason: str, fault: Exception) -> Answers:
        """Keeps the message as a dead letter and rejects it: its gateway keeps it too, and it can be replayed."""
        if isinstance(message, Refused):
            raise fault
        _log.error("ingest.set_aside", topic=message.topic, seq=message.seq, reason=reason, fault=_sentence(fault))
        refused = Refused(
            message.topic, message.payload, reason, _sentence(fault), message.address, message.sender, message.seq
        )
        return await self._transaction([refused])

    async def _transaction(self, group: Sequence[Incoming | Refused]) -> Answers:
        """One transaction. Tables are written in one order by every worker, rows in the order of their keys."""
        incoming = [message for message in group if isinstance(message, Incoming)]
        refused = [message for message in group if isinstance(message, Refused)]
        async with self._db.transaction(_ASKER) as conn:
            projects = await self._project_ids(conn, group)
            known, strangers = await self._known(conn, incoming, projects)
            points = await self._readings(conn, known)
            await self._others(conn, known, points.seen_ms)
            letters = [_letter(message, projects) for message in refused]
            letters += [_stranger_letter(message, projects) for message in strangers]
            await self._keep(conn, letters)
            asked = await _asked(conn, [message for message, _ in known])
        self._note_repetition(points)
        for name in ("stored", "repeated", "revised", "unclaimed", "unusable"):
            metrics.POINTS.labels(name).inc(getattr(points, name))
        answers = _answers([message for message, _ in known], refused, strangers)
        answers.asked = asked
        return answers

    async def _project_ids(self, conn: Conn, group: Sequence[Incoming | Refused]) -> dict[str, int]:
        """Ids by code. A code never changes its meaning, so only an unknown one is looked up again."""
        codes = {message.address.project for message in group if message.address is not None}
        if not codes <= self._projects.keys():
            self._projects = {project.code: project.id for project in await estate.projects(conn)}
        return self._projects

    async def _known(
        self, conn: Conn, incoming: Sequence[Incoming], projects: dict[str, int]
    ) -> tuple[list[tuple[Incoming, tuple[int, int]]], list[Incoming]]:
        """Messages with (project id, gateway id) of their sender, and those of senders nobody registered."""
        names = {
            (projects[message.address.project], message.address.gateway)
            for message in incoming
            if message.address.project in projects
        }
        gateways = await devices.resolve_gateways(conn, names) if names else {}
        known, strangers = [], []
        for message in incoming:
            project_id = projects.get(message.address.project, 0)
            gateway_id = gateways.get((project_id, message.address.gateway))
            if gateway_id is None:
                strangers.append(message)
            else:
                known.append((message, (project_id, gateway_id)))
        return known, strangers

    async def _readings(self, conn: Conn, known: Sequence[tuple[Incoming, tuple[int, int]]]) -> StoreResult:
        batches = [
            Batch(project_id, gateway_id, message.address.gateway, message.received_ms, message.content)
            for message, (project_id, gateway_id) in known
            if isinstance(message.content, PointColumns)
        ]
        return await metering.store_points(conn, batches, expect_new=self._looking_first == 0)

    def _note_repetition(self, points: StoreResult) -> None:
        """Readings that are there already seldom come alone: a session was cut off, or an acknowledgement was lost."""
        if points.repeated or points.revised:
            self._looking_first = _LOOK_FIRST_GROUPS
        elif self._looking_first and points.stored:
            self._looking_first -= 1

    async def _others(
        self, conn: Conn, known: Sequence[tuple[Incoming, tuple[int, int]]], seen_ms: Mapping[int, int]
    ) -> None:
        """Results, passages, health, configurations and gaps, gateway by gateway.

        When gateways were heard of is written for all of them at once, and before each one's own report: two workers
        with reports of two gateways would wait for each other. When devices were heard of, too, be it by their readings
        (`seen_ms`) or by reports.
        """
        by_gateway = sorted(known, key=lambda pair: (pair[1], pair[0].seq))
        results: dict[tuple[int, int], list[CommandResult]] = defaultdict(list)
        for message, place in by_gateway:
            if isinstance(message.content, Results):
                results[place] += message.content.items
        if results:
            await devices.apply_results(conn, results)
        await self._passages(conn, by_gateway)
        if known:
            await devices.note_gateways_seen(conn, {place[1] for _, place in known})
        reports = [(place[1], message.content) for message, place in by_gateway if isinstance(message.content, Health)]
        await devices.apply_signs_of_life(conn, seen_ms, reports)
        for message, (_, gateway_id) in by_gateway:
            if isinstance(message.content, Configurations):
                await configuring.apply_configurations(conn, gateway_id, message.content.items)
        for message, (project_id, gateway_id) in by_gateway:
            if isinstance(message.content, Gaps):
                await devices.keep_gaps(conn, project_id, gateway_id, message.content.items)

    async def _passages(self, conn: Conn, by_gateway: Sequence[tuple[Incoming, tuple[int, int]]]) -> None:
        """Passages of each project together: a lane tells each vehicle in messages of its own."""
        told: dict[int, list[parking.Told]] = defaultdict(list)
        for message, (project_id, _) in by_gateway:
            if isinstance(message.content, Passages):
                received_at = datetime.fromtimestamp(message.received_ms / 1000, UTC)
                told[project_id].append(parking.Told(message.address.gateway, message.content.items, received_at))
        for project_id, of_project in sorted(told.items()):
            await parking.apply_told(conn, project_id, of_project)


async def _asked(conn: Conn, known: Sequence[Incoming]) -> list[Asked]:
    """By the clock that commands are issued by, whatever that of this machine says."""
    asking = [
        (message.address, message.content.challenge)
        for message in known
        if isinstance(message.content, Health) and message.content.challenge
    ]
    at = await devices.now_ms(conn) if asking else 0
    return [Asked(address.project, address.gateway, challenge, at) for address, challenge in asking]


def _answers(accepted: Sequence[Incoming], refused: Sequence[Refused], strangers: Sequence[Incoming]) -> Answers:
    answers = Answers()
    for message in accepted:
        answers.accepted[message.sender].append(message.seq)
        metrics.MESSAGES.labels(message.address.kind.value, "accepted").inc()
    for broken in refused:
        answers.refuse(broken)
        kind = "unknown" if broken.address is None else broken.address.kind.value
        metrics.MESSAGES.labels(kind, broken.reason).inc()
    for message in strangers:
        metrics.MESSAGES.labels(message.address.kind.value, UNKNOWN_GATEWAY).inc()
    return answers


def _letter(message: Refused, projects: dict[str, int]) -> Letter:
    project_id = None if message.address is None else projects.get(message.address.project)
    return Letter(project_id, message.topic, message.payload, message.reason, message.detail)


def _stranger_letter(message: Incoming, projects: dict[str, int]) -> Letter:
    """Of a gateway that nobody registered one message per topic is kept, for people to see that it is there.

    It gets no answer, so that its outbox keeps everything until it is registered: nothing is lost, and nothing of a
    misspelled name fills the disk.
    """
    project_id = projects.get(message.address.project)
    detail = f"no gateway {message.address.gateway} in project {message.address.project}; it may be registered later"
    return Letter(project_id, message.topic, message.payload, UNKNOWN_GATEWAY, detail, once_per_topic=True)


def _sentence(fault: Exception) -> str:
    """First line of an error, for a dead letter and a rejected acknowledgement."""
    lines = str(fault).splitlines()
    return f"{type(fault).__name__}: {lines[0] if lines else ''}"[: limits.MAX_TEXT_CHARS]
