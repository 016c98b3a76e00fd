"""Runs the demo: starts every process, sets up what is missing, and ends all of them together."""

import asyncio
import contextlib
import fcntl
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.migrate import migrate
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.security import Keys
from simulators.barrier.plates import Vehicle
from simulators.broker import BrokerProcess
from simulators.demo import processes
from simulators.demo.access import grant_logins
from simulators.demo.child import Child, ChildFailed, ChildSpec
from simulators.demo.options import DemoError, DemoOptions
from simulators.demo.parking import who_is_inside
from simulators.demo.postgres import dsn_file
from simulators.demo.processes import SECRETS, Installation
from simulators.demo.progress import Steps
from simulators.demo.secrets_file import load_secrets
from simulators.demo.setup import SetUp
from simulators.demo.site import write_site
from simulators.demo.state import DemoState
from simulators.demo.welcome import welcome

_LINES: Final = 6
"""Modbus lines of the demo site: two of each building."""


async def run_demo(options: DemoOptions) -> None:
    """Runs until SIGINT or SIGTERM. Raises DemoError when it cannot start or set up."""
    options.folder.mkdir(parents=True, exist_ok=True)
    _check_port(options.port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _alone_in(options):
        demo = Demo(options, Steps())
        try:
            await _unless_stopped(demo, stop)
            await stop.wait()
        except ChildFailed as error:
            raise DemoError(str(error)) from error
        finally:
            await demo.stop()


class Demo:
    """All processes of one demo."""

    def __init__(self, options: DemoOptions, steps: Steps) -> None:
        self._steps = steps
        self._state = DemoState.open(options)
        self._options = self._state.options_of(options)
        self._children: list[Child] = []

    async def start(self) -> None:
        """Starts what there is, sets up what is missing, and says where everything is."""
        options = self._options
        secrets = load_secrets(options.folder / "secrets.json", SECRETS)
        if not options.keys_file.exists():
            Keys.generate().save(options.keys_file)
        installation = await self._servers(secrets)
        async with Database(installation.owner_dsn, "gatemeter_worker", max_size=4) as db:
            worker = next(child for child in self._children if child.spec.name == "worker")
            await SetUp(installation, self._state, db, self._steps, worker).run()
            if options.live:
                with self._steps.step("Meters, gateway, barriers"):
                    inside = await self._inside(db)
                    for spec in processes.field(installation, gateway_heard_since(db, datetime.now(UTC)), inside):
                        await self._run(spec)
        self._steps.say(welcome(options, secrets, [child.spec.name for child in self._children]))

    async def stop(self) -> None:
        """Ends every process, from the field towards the database."""
        if self._children:
            self._steps.say("Stopping …")
        while self._children:
            await self._children.pop().stop()
        self._steps.say("Stopped. The same command goes on where this ended.")

    async def _inside(self, db: Database) -> list[Vehicle]:
        async with db.transaction(SYSTEM.named("demo")) as conn:
            return await who_is_inside(conn, self._state.facts["project_id"], datetime.now(UTC))

    async def _servers(self, secrets: dict[str, str]) -> Installation:
        options = self._options
        with self._steps.step("Database"):
            dsn_file(options.postgres).unlink(missing_ok=True)
            await self._run(processes.postgres(options))
            owner_dsn = dsn_file(options.postgres).read_text("utf-8")
            await asyncio.to_thread(migrate, owner_dsn)
            await asyncio.to_thread(grant_logins, owner_dsn, secrets)
        with self._steps.step("Broker, mail, ingest, worker, web"):
            broker_port, health_port, mail_port, *line_ports = processes.free_ports(3 + _LINES)
            broker = BrokerProcess(options.folder / "broker", processes.broker_clients(secrets), port=broker_port)
            installation = Installation(
                options, secrets, owner_dsn, broker_port, mail_port, tuple(line_ports), self._state.traffic_seed
            )
            await self._run(processes.broker(broker.command, broker_port))
            keys = Keys.load(options.keys_file)
            write_site(
                options.site_file,
                floors=options.floors,
                state_directory=options.folder / "gateway",
                broker_port=broker_port,
                health_port=health_port,
                line_ports=line_ports,
                cloud_keys={keys.command_key_id: keys.command_public_key()},
            )
            for spec in processes.cloud(installation):
                await self._run(spec)
        return installation

    async def _run(self, spec: ChildSpec) -> None:
        child = Child(spec, self._options.logs / f"{spec.name}.log", self._steps.say)
        self._children.append(child)
        await child.start()


def gateway_heard_since(db: Database, since: datetime) -> Callable[[], Awaitable[bool]]:
    """Asks whether the cloud has heard of a gateway since then."""

    async def heard() -> bool:
        async with db.transaction(SYSTEM) as conn:
            gateways = (await devices.list_gateways(conn, PageRequest(MAX_LIMIT))).items
        return any(gateway.seen_at is not None and gateway.seen_at >= since for gateway in gateways)

    return heard


async def _unless_stopped(demo: Demo, stop: asyncio.Event) -> None:
    """Starts the demo; a stop meanwhile breaks it off where it is."""
    starting = asyncio.create_task(demo.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
    finally:
        stopping.cancel()
        starting.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise DemoError(
                f"port {port} of 127.0.0.1 is taken ({error.strerror}): choose another with --port"
            ) from None


@contextlib.contextmanager
def _alone_in(options: DemoOptions) -> Iterator[None]:
    """Holds the folder's lock, which ends with this process however it ends."""
    descriptor = os.open(options.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DemoError(f"a demo runs in {options.folder} already: choose another folder with --folder") from None
    try:
        yield
    finally:
        os.close(descriptor)
