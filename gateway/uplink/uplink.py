"""The uplink: one session after the other, for as long as the gateway runs."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from enum import StrEnum
from typing import Any, Final

import aiomqtt
import structlog

from gateway.contract.topics import Down
from gateway.outbox import Outbox
from gateway.outbox.outbox import wall_clock_ms
from gateway.tasks import end, first_error
from gateway.uplink.commands import CommandCounters, CommandDesk, CommandHandler
from gateway.uplink.connection import new_client
from gateway.uplink.journal import Journal
from gateway.uplink.reconnect import Backoff
from gateway.uplink.session import Address, LinkCounters, Session
from gateway.uplink.settings import BrokerSettings, CredentialsMissing
from gateway.uplink.window import Window

_COMMANDS_AT_ONCE: Final = 64
_ACCESS_AT_ONCE: Final = 256
"""Messages about vehicles that wait for their turn; what is too much is told again."""
_PROVEN_AFTER_S: Final = 10.0
"""A session that lived this long, or in which the cloud answered, ends the back-off."""

_log = structlog.get_logger(__name__)


class LinkState(StrEnum):
    """Where the uplink is in its life."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    ONLINE = "online"
    DRAINING = "draining"
    """Stopping, and waiting for the last acknowledgements."""
    WAITING = "waiting"
    """Between two attempts."""


PayloadHandler = Callable[[bytes], Coroutine[Any, Any, None]]
"""Takes the payload of a message of the cloud, proves it and does with it what has to be done."""


class Uplink:
    """Carries the outbox to the cloud, the cloud's commands to `on_command`, its configurations to
    `on_configuration`, what it says of vehicles to `on_access`, its time to `on_time`.

    `cloud_keys` maps key ids to raw Ed25519 public keys in base64; without keys no command is executed.
    `clock` gives Unix milliseconds and judges the expiry of commands, `clock_is_sure` whether it can be trusted;
    `reached` a time that has certainly come, by which commands are forgotten: `clock` when there is none.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        project: str,
        gateway: str,
        outbox: Outbox,
        on_command: CommandHandler,
        *,
        on_configuration: PayloadHandler | None = None,
        on_access: PayloadHandler | None = None,
        on_time: Callable[[bytes], None] | None = None,
        cloud_keys: Mapping[str, str] | None = None,
        clock: Callable[[], int] = wall_clock_ms,
        clock_is_sure: Callable[[], bool] = lambda: True,
        reached: Callable[[], int] | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.state = LinkState.STOPPED
        self.counters = LinkCounters()
        self.trouble = ""
        """Why the last session ended or did not begin; empty while one is on."""
        self._broker = broker
        self._address = Address(project, gateway)
        self._outbox = outbox
        self._clock = clock
        self._reached = reached or clock
        self._journal = Journal(outbox)
        self._desk = CommandDesk(project, gateway, cloud_keys or {}, self._journal, on_command, clock, clock_is_sure)
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._session: Session | None = None
        self._commands: set[asyncio.Task[None]] = set()
        self._on_configuration = on_configuration
        self._on_access = on_access
        self._on_time = on_time
        self._accesses: set[asyncio.Task[None]] = set()
        self._configuring: asyncio.Task[None] | None = None

    @property
    def command_counters(self) -> CommandCounters:
        """Commands executed and refused since the gateway started."""
        return self._desk.counters

    async def run(self) -> None:
        """Runs until `stop` or cancellation; survives every failure of network, broker and cloud.

        Raises OutboxError when the outbox file fails. After `stop`, commands in execution are finished first.
        """
        cut_off = await self._journal.open(self._clock(), self._reached())
        if cut_off:
            _log.warning("commands were cut off by the last stop and reported as uncertain", count=cut_off)
        try:
            # Commands outlive a session: a lost connection must not tear an opening barrier's answer away.
            async with asyncio.TaskGroup() as tasks:
                await self._serve(tasks)
        finally:
            self.state = LinkState.STOPPED

    def stop(self) -> None:
        """Asks `run` to send what waits, for at most `drain_s`, and to return."""
        self._stopping.set()
        if self._session is not None:
            self.state = LinkState.DRAINING
            self._session.stop()

    async def _serve(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping.is_set():
            try:
                await self._one_session(tasks)
            except* (aiomqtt.MqttError, CredentialsMissing) as failures:
                self.trouble = str(first_error(failures))
                _log.warning("session ended", reason=self.trouble)
            if not self._stopping.is_set():
                await self._pause()

    async def _one_session(self, tasks: asyncio.TaskGroup) -> None:
        self.state = LinkState.CONNECTING
        identifier = f"gm-{self._address.project}-{self._address.gateway}"
        client = new_client(self._broker, identifier, self._broker.window)
        async with client:
            window = Window(self._broker.window, self._broker.resend_after_s)
            session = Session(
                client,
                self._address,
                self._outbox,
                window,
                self.counters,
                lambda kind, payload: self._take(tasks, kind, payload),
            )
            await session.subscribe()
            self.state = LinkState.ONLINE
            self.trouble = ""
            self.counters.sessions += 1
            started = asyncio.get_running_loop().time()
            self._session = session
            try:
                await self._run_bounded(session)
            finally:
                if session.answered or asyncio.get_running_loop().time() - started > _PROVEN_AFTER_S:
                    self._backoff.succeeded()
                self._session = None

    async def _run_bounded(self, session: Session) -> None:
        """Runs the session; once stopping was asked for, for `drain_s` more at most."""
        running = asyncio.ensure_future(session.run())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                self.stop()
                await asyncio.wait((running,), timeout=self._broker.drain_s)
            if running.done():
                running.result()
        finally:
            await end(running, stopping)

    def trust(self, cloud_keys: Mapping[str, str]) -> None:
        """Takes orders signed by these keys from now on, and by no others."""
        self._desk.trust(cloud_keys)

    def _take(self, tasks: asyncio.TaskGroup, kind: Down, payload: bytes) -> None:
        if kind is Down.CONFIG:
            self._configure(tasks, payload)
            return
        if kind is Down.ACCESS:
            self._learn(tasks, payload)
            return
        if kind is Down.TIME:
            if self._on_time is not None:
                self._on_time(payload)
            return
        if len(self._commands) >= _COMMANDS_AT_ONCE:
            self._desk.counters.refused += 1
            _log.error("too many commands at once, one ignored")
            return
        task = tasks.create_task(self._desk.handle(payload))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    def _configure(self, tasks: asyncio.TaskGroup, payload: bytes) -> None:
        """One at a time: the cloud sends what was not heard again, and only the newest matters."""
        if self._on_configuration is None or (self._configuring is not None and not self._configuring.done()):
            return
        self._configuring = tasks.create_task(self._on_configuration(payload))

    def _learn(self, tasks: asyncio.TaskGroup, payload: bytes) -> None:
        """Who handles them takes them one by one, in the order in which they came."""
        if self._on_access is None or len(self._accesses) >= _ACCESS_AT_ONCE:
            return
        task = tasks.create_task(self._on_access(payload))
        self._accesses.add(task)
        task.add_done_callback(self._accesses.discard)

    async def _pause(self) -> None:
        self.state = LinkState.WAITING
        try:
            async with asyncio.timeout(self._backoff.next_wait()):
                await self._stopping.wait()
        except TimeoutError:
            return
