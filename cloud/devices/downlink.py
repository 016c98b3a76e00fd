"""Commands, configurations and steps about vehicles on their way down: signed, published, and again until heard of.

A gateway executes a command at most once, by its id, and takes a configuration once, by its number, so repeating them
is harmless. A command that expires before any gateway reports is marked expired here.
"""

import asyncio
import base64
import secrets
import time
from collections.abc import Awaitable, Callable, Set
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import structlog
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from cloud.devices import access, configurations, orders
from cloud.devices.records import Command, Configuration
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.periods import in_ms
from cloud.kit.security import Keys
from gateway.contract import WIRE_VERSION, codec, topics
from gateway.contract.access import AccessUpdate, in_parts
from gateway.contract.configuration import Configuration as WireConfiguration
from gateway.contract.errors import ContractError
from gateway.contract.messages import Action, CloudTime
from gateway.contract.messages import Command as WireCommand
from gateway.contract.signing import signed
from gateway.contract.topics import Down

Publish = Callable[[str, bytes], Awaitable[bool]]
"""Hands a payload to the broker; False when there is none now."""

_POLL_S = 1.0
_AGAIN_AFTER = timedelta(seconds=3)
_AT_ONCE = 100
_STEPS_AT_ONCE = 10
"""Gateways; each may have to be told everything."""
_ASKER = SYSTEM.named("downlink")

_log = structlog.get_logger(__name__)


class Downlink:
    """Publishes what is queued. Runs beside an ingest worker and uses its session with the broker."""

    def __init__(self, db: Database, keys: Keys, publish: Publish, *, again_after: timedelta = _AGAIN_AFTER) -> None:
        self._db = db
        self._signer = keys.command_signer()
        self._key_id = keys.command_key_id
        self._publish = publish
        self._again_after = again_after
        self._expired_at = -_POLL_S
        self._known_codes: dict[int, str] = {}
        self._commands_wake, self._knowledge_wakes = asyncio.Event(), asyncio.Event()

    def wake(self) -> None:
        """Looks at the queue now: a command was queued, or the broker is back."""
        self._commands_wake.set()
        self._knowledge_wakes.set()

    async def run(self) -> None:
        """Publishes until cancelled; a lost database is waited for.

        Commands go out beside all else: a vehicle at a barrier does not wait until somebody was told everything.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen_for_ever())
            tasks.create_task(self._for_ever(self.publish_commands, self._commands_wake))
            tasks.create_task(self._for_ever(self.publish_knowledge, self._knowledge_wakes))

    async def _for_ever(self, publish: Callable[[], Awaitable[int]], waking: asyncio.Event) -> None:
        while True:
            try:
                await publish()
            except psycopg.OperationalError as error:
                _log.warning("downlink.database_lost", error=str(error).strip())
            except Exception:  # noqa: BLE001 - what cannot be told must not end what is taken in from gateways beside
                _log.exception("downlink.failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_S):
                    await waking.wait()
            waking.clear()

    async def publish_due(self) -> int:
        """Publishes what is queued and new or unanswered, and ends expired commands; returns how many went out."""
        return await self.publish_commands() + await self.publish_knowledge()

    async def publish_commands(self) -> int:
        """Commands are taken, then published, with no row locked meanwhile: what gateways report of the first of them
        is stored by ingest, for which vehicles wait, before the last one is out.

        Whoever dies between leaves them to be published again as if no gateway had answered.
        """
        async with self._db.transaction(_ASKER) as conn:
            await self._expire(conn)
            due = await orders.take_due(conn, datetime.now(UTC) - self._again_after, _AT_ONCE)
            codes = await self._codes(conn, {command.project_id for command in due})
        went = await asyncio.gather(*(self._publish_command(command, codes[command.project_id]) for command in due))
        if not all(went):
            held_back = [command.id for command, gone in zip(due, went, strict=True) if not gone]
            async with self._db.transaction(_ASKER) as conn:
                await orders.mark_held_back(conn, held_back)
        return sum(went)

    async def publish_knowledge(self) -> int:
        """Configurations and steps about vehicles."""
        return await self._configure() + await self._tell()

    async def _publish_command(self, command: Command, project_code: str) -> bool:
        topic = topics.down(project_code, command.gateway_code, Down.COMMAND)
        return await self._publish(topic, self.signed(command, project_code))

    async def _expire(self, conn: Conn) -> None:
        """At most once a second: commands are looked for whenever there is a new one."""
        if time.monotonic() - self._expired_at >= _POLL_S:
            await orders.expire(conn)
            self._expired_at = time.monotonic()

    async def _codes(self, conn: Conn, wanted: Set[int]) -> dict[int, str]:
        """Of projects at least those that are wanted. A code never changes its meaning."""
        if not wanted <= self._known_codes.keys():
            self._known_codes = {project.id: project.code for project in await estate.projects(conn)}
        return self._known_codes

    async def _configure(self) -> int:
        """As commands: taken, then published with no row locked, for what gateways report of them."""
        async with self._db.transaction(_ASKER) as conn:
            wanted = await configurations.take_due(conn, _AT_ONCE)
            if not wanted:
                return 0
            codes = await self._codes(conn, {one.project_id for one in wanted})
            for one in wanted:
                await configurations.mark_published(conn, one)
        held_back = []
        for one in wanted:
            topic = topics.down(codes[one.project_id], one.gateway_code, Down.CONFIG)
            if not await self._publish(topic, self.signed_configuration(one, codes[one.project_id])):
                held_back.append(one)
        if held_back:
            async with self._db.transaction(_ASKER) as conn:
                for one in held_back:
                    await configurations.mark_held_back(conn, one)
        return len(wanted) - len(held_back)

    async def _tell(self) -> int:
        """Steps of a gateway go out in order, so nobody else tells it meanwhile; but no row is locked before all are
        out: whoever changes what lanes know, and ingest with a health report, would wait for the broker.
        """
        async with self._db.transaction(_ASKER) as conn:
            steps = await access.take_due(conn, _STEPS_AT_ONCE)
            codes = await self._codes(conn, {step.project_id for step in steps})
            told = [step for step in steps if await self._publish_step(conn, step, codes[step.project_id])]
            for step in told:
                await access.mark_sent(conn, step)
        return len(told)

    async def _publish_step(self, conn: Conn, step: access.Due, project_code: str) -> bool:
        topic = topics.down(project_code, step.gateway_code, Down.ACCESS)
        entries = await access.entries_of(conn, step)
        try:
            parts = in_parts(self._step(step, project_code), entries)
        except ContractError as error:
            _log.error("downlink.step_too_large", gateway=step.gateway_code, error=str(error))
            return False
        for part in parts:
            if not await self._publish(topic, self.signed_access(part)):
                return False
        return True

    def _step(self, step: access.Due, project_code: str) -> AccessUpdate:
        return AccessUpdate(
            version=WIRE_VERSION,
            project=project_code,
            gateway=step.gateway_code,
            base=step.base,
            number=step.number,
            part=1,
            parts=1,
            issued_at=in_ms(step.at),
            entries=(),
            actor="downlink",
            key_id=self._key_id,
        )

    def signed_access(self, update: AccessUpdate) -> bytes:
        """The wire payload of a part of a step."""
        return codec.encode_access(signed(update, self._signature))

    def signed_configuration(self, configuration: Configuration, project_code: str) -> bytes:
        """The wire payload of a configuration: the same each time."""
        bare = WireConfiguration(
            version=WIRE_VERSION,
            number=configuration.number,
            project=project_code,
            gateway=configuration.gateway_code,
            issued_at=in_ms(configuration.issued_at),
            site=configuration.site,
            templates=configuration.templates,
            confirm_s=configuration.confirm_s,
            actor=configuration.actor,
            key_id=self._key_id,
        )
        return codec.encode_configuration(signed(bare, self._signature))

    def signed(self, command: Command, project_code: str) -> bytes:
        """The wire payload: a fresh nonce each time, the same id."""
        bare = WireCommand(
            version=WIRE_VERSION,
            id=str(command.id),
            project=project_code,
            gateway=command.gateway_code,
            device=command.device_code,
            action=Action(command.action),
            arguments=command.arguments,
            actor=command.actor,
            issued_at=in_ms(command.issued_at),
            expires_at=in_ms(command.expires_at),
            nonce=secrets.token_hex(16),
            key_id=self._key_id,
        )
        return codec.encode_command(signed(bare, self._signature))

    def signed_time(self, project_code: str, gateway_code: str, challenge: str, at: int) -> bytes:
        """The wire payload of an answer to a gateway that asked what time it is."""
        bare = CloudTime(
            version=WIRE_VERSION,
            project=project_code,
            gateway=gateway_code,
            challenge=challenge,
            at=at,
            key_id=self._key_id,
        )
        return codec.encode_time(signed(bare, self._signature))

    def _signature(self, covered: bytes) -> str:
        return base64.b64encode(self._signer.sign(covered)).decode()

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                async with await AsyncConnection.connect(self._db.dsn, autocommit=True, row_factory=dict_row) as conn:
                    await conn.execute(f"LISTEN {orders.CHANNEL}")
                    self.wake()
                    async for told in conn.notifies():
                        wakes = self._knowledge_wakes if told.payload == orders.KNOWLEDGE else self._commands_wake
                        wakes.set()
            except psycopg.OperationalError as error:
                # Polling goes on meanwhile.
                _log.warning("downlink.not_listening", error=str(error).strip())
                await asyncio.sleep(_POLL_S)
