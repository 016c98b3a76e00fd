"""Which processes the demo consists of, and what each is told. Secrets travel by environment only."""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg.conninfo import make_conninfo

from cloud.kit.db import Role
from gateway.uplink import BrokerSettings
from simulators.barrier.plates import Vehicle
from simulators.broker import BrokerClient, barrier_client, gateway_client, ingest_client
from simulators.demo.child import ChildSpec
from simulators.demo.options import GATEWAY, PROJECT, DemoOptions
from simulators.demo.postgres import dsn_file
from simulators.demo.site import example_site

_GATEMETER: Final = (sys.executable, "-m", "cloud.cli")
_BARRIERS: Final = "demo.barriers"

SECRETS: Final = (
    "database-web", "database-ingest", "database-worker", "broker-gateway", "broker-ingest", "broker-barriers",
    "admin", "cashier", "guard", "resident", "merchant",
)  # fmt: skip
"""Names of the passwords that a demo has."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where the parts of one running demo find each other."""

    options: DemoOptions
    secrets: dict[str, str]
    owner_dsn: str
    broker_port: int
    mail_port: int
    line_ports: tuple[int, ...]
    traffic_seed: int

    def role_dsn(self, role: Role) -> str:
        """DSN of one process: its own login, its own password."""
        password = self.secrets[f"database-{role.removeprefix('gatemeter_')}"]
        return make_conninfo(self.owner_dsn, user=role, password=password)

    def gateway_broker(self, password_env: str) -> BrokerSettings:
        """How the gateway's login reaches the broker, for the delivery of history."""
        return BrokerSettings(
            host="127.0.0.1",
            port=self.broker_port,
            username=f"{PROJECT}.{GATEWAY}",
            password_env=password_env,
            resend_after_s=5.0,
        )


def broker_clients(secrets: dict[str, str]) -> list[BrokerClient]:
    """Who may connect to the demo's broker."""
    prefixes = [line["prefix"] for line in example_site()["barriers"]]
    return [
        gateway_client(PROJECT, GATEWAY, secrets["broker-gateway"]),
        ingest_client(secrets["broker-ingest"]),
        *(barrier_client(_BARRIERS, secrets["broker-barriers"], prefix) for prefix in prefixes),
    ]


def postgres(options: DemoOptions) -> ChildSpec:
    """The embedded database server."""

    async def ready() -> bool:
        return dsn_file(options.postgres).exists()

    return ChildSpec("postgres", (sys.executable, "-m", "simulators.demo.postgres", str(options.postgres)), ready=ready,
                     ready_limit_s=90)  # fmt: skip


def broker(command: Sequence[str], port: int) -> ChildSpec:
    """The MQTT broker."""
    return ChildSpec("broker", tuple(command), ready=_listens(port))


def cloud(installation: Installation) -> list[ChildSpec]:
    """Ingest, worker and web, each with its own database login, and a mail server that keeps what they send."""
    port, keep = installation.options.port, str(installation.options.mail)
    mail_port = installation.mail_port
    return [
        ChildSpec("mail", (*_GATEMETER, "simulate", "mail", "--port", str(mail_port), "--keep", keep),
                  ready=_listens(mail_port)),
        ChildSpec("ingest", (*_GATEMETER, "ingest", "run"), _cloud_environment(installation, "gatemeter_ingest")),
        ChildSpec("worker", (*_GATEMETER, "worker", "run"), _cloud_environment(installation, "gatemeter_worker")),
        ChildSpec("web", (*_GATEMETER, "web", "run"), _cloud_environment(installation, "gatemeter_web"),
                  ready=_listens(port)),
    ]  # fmt: skip


def field(
    installation: Installation, gateway_heard: Callable[[], Awaitable[bool]], inside: Sequence[Vehicle]
) -> list[ChildSpec]:
    """The simulated devices and the gateway that reads them, in the order in which they find each other.

    `gateway_heard` tells whether the cloud has heard of the gateway since it was started: what a barrier says before
    that is heard by nobody. `inside` are in the lot already and leave one after another.
    """
    site = str(installation.options.site_file)
    barriers = {"GATEMETER_BARRIER_PASSWORD": installation.secrets["broker-barriers"]}
    gateway = {**barriers, "GATEMETER_BROKER_PASSWORD": installation.secrets["broker-gateway"]}
    seed, traffic = str(installation.options.seed), str(installation.traffic_seed)
    parked = [word for one in inside for word in ("--inside", f"{one.plate}:{one.vehicle_class}")]
    return [
        ChildSpec("meters", (*_GATEMETER, "simulate", "meters", "--site", site, "--seed", seed),
                  ready=_listens(installation.line_ports[-1])),
        ChildSpec("gateway", (*_GATEMETER, "gateway", "run", "--site", site), gateway, ready=gateway_heard),
        ChildSpec("barriers", (*_GATEMETER, "simulate", "barriers", "--site", site, "--seed", traffic, *parked),
                  barriers),
    ]  # fmt: skip


def free_ports(count: int) -> tuple[int, ...]:
    """So many different ports of 127.0.0.1 that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return tuple(int(probe.getsockname()[1]) for probe in probes)
    finally:
        for probe in probes:
            probe.close()


def _cloud_environment(installation: Installation, role: Role) -> dict[str, str]:
    options = installation.options
    environment = {
        "GATEMETER_DATABASE_DSN": installation.role_dsn(role),
        "GATEMETER_KEYS_FILE": str(options.keys_file),
        "GATEMETER_LOG_LEVEL": "info",
    }
    if role == "gatemeter_ingest":
        environment |= {
            "GATEMETER_BROKER_HOST": "127.0.0.1",
            "GATEMETER_BROKER_PORT": str(installation.broker_port),
            "GATEMETER_BROKER_USERNAME": "cloud.ingest",
            "GATEMETER_BROKER_PASSWORD": installation.secrets["broker-ingest"],
        }
    if role != "gatemeter_ingest":
        environment |= {
            "GATEMETER_SMTP_HOST": "127.0.0.1",
            "GATEMETER_SMTP_PORT": str(installation.mail_port),
            "GATEMETER_SMTP_TLS": "off",  # nothing leaves this machine
            "GATEMETER_MAIL_FROM": "bills@demo.example.com",
            "GATEMETER_PUBLIC_URL": f"http://127.0.0.1:{options.port}",
        }
    if role == "gatemeter_web":
        environment |= {
            "GATEMETER_WEB_HOST": "127.0.0.1",
            "GATEMETER_WEB_PORT": str(options.port),
            "GATEMETER_SECURE_COOKIES": "false",  # plain HTTP on this machine
        }
    return environment


def _listens(port: int) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    return ready
