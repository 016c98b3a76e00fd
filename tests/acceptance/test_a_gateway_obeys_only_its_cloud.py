"""Orders and configurations through the whole system: the cloud's are carried out and told, nobody else's ever is."""

import secrets
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.devices import configuring, service
from cloud.kit.db import SYSTEM, Database
from gateway.contract import WIRE_VERSION, codec
from gateway.contract.configuration import Configuration
from gateway.contract.messages import Action, Command
from gateway.contract.signing import signed
from gateway.contract.topics import Down
from tests.acceptance.place import Place
from tests.acceptance.system import (
    GATEWAY,
    PROJECT,
    create_project,
    meter_site,
    running_system,
    until,
)
from tests.integration.metering.site import now_ms
from tests.ports import free_ports
from tests.signing import signer

METERS = 4


@pytest.fixture
async def place(tmp_path: Path, owner_dsn: str, worker_db: Database) -> AsyncIterator[Place]:
    async with worker_db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        devices = [
            (await service.create_device(conn, project.id, gateway_id, f"e-{number:03}", "electricity")).id
            for number in range(1, METERS + 1)
        ]
    site = meter_site(METERS, period_s=1.0)
    with running_system(tmp_path, owner_dsn, site) as system:
        system.start("meters", "simulate", "meters", "--site", str(system.site_file))
        system.start_ingest()
        system.start_gateway()
        place = Place(worker_db, system, project.id, gateway_id, devices)

        async def readings_come() -> bool:
            return await place.readings() > 2 * METERS

        await until(readings_come, "readings in the database", 60.0)
        yield place


@pytest.mark.slow
async def test_orders_and_configurations_of_the_cloud_and_of_nobody_else(place: Place) -> None:
    done = await place.ends(await place.order(Action.READ_NOW))
    assert (done.state, done.detail) == ("done", "7 values")

    await forged_orders_do_nothing(place)
    (line,), (twin,) = (yaml.safe_load(place.system.site_file.read_text())["lines"] for _ in range(2))
    first = await place.configure({"periods": {"billing_s": 2, "instant_s": 2}})
    assert await place.becomes(first, "confirmed") == ""

    await forged_configurations_change_nothing(place, first)
    broken = await place.configure({"lines": [line | {"port": free_ports(1)[0], "timeout_s": 1}]})
    await place.becomes(broken, "applied")
    detail = await place.becomes(broken, "rolled-back")
    assert detail.startswith("line line-1: no answer of e-001")
    before = await place.readings()

    async def readings_come_again() -> bool:
        return await place.readings() > before + METERS

    await until(readings_come_again, "readings after the way back", 60.0)
    refused = await place.configure({"lines": [line, twin]})
    assert "lines[1].name: each line name once" in await place.becomes(refused, "refused")
    place.system.stop("gateway")


async def forged_orders_do_nothing(place: Place) -> None:
    """Signed by a stranger, and a real one under another device's name."""
    now = now_ms()
    forged = Command(
        WIRE_VERSION, str(uuid.uuid4()), PROJECT, GATEWAY, "e-001", Action.READ_NOW, {}, "staff", now, now + 60_000,
        secrets.token_hex(16), place.system.keys.command_key_id,
    )  # fmt: skip
    stranger = signer(Ed25519PrivateKey.generate())
    await place.publishes(Down.COMMAND, codec.encode_command(signed(forged, stranger)))
    real = place.system.keys.command_signer()
    good = msgspec.structs.replace(forged, id=str(uuid.uuid4()))
    bent = msgspec.structs.replace(signed(good, signer(real)), device="e-002")
    await place.publishes(Down.COMMAND, codec.encode_command(bent))

    async def both_are_refused() -> bool:
        return place.system.log("gateway").count('"event": "command refused"') == 2

    await until(both_are_refused, "the forged orders are refused")
    assert '"event": "command", "id": "' + forged.id not in place.system.log("gateway")


async def forged_configurations_change_nothing(place: Place, last: int) -> None:
    """Signed by a stranger, and an old one of the cloud's own."""
    own = place.system.keys
    bare = Configuration(
        WIRE_VERSION, last + 1, PROJECT, GATEWAY, now_ms(), "lines: []", {}, 10, "staff", own.command_key_id
    )
    for number, key in ((last + 1, Ed25519PrivateKey.generate()), (last, own.command_signer())):
        one = msgspec.structs.replace(bare, number=number)
        await place.publishes(Down.CONFIG, codec.encode_configuration(signed(one, signer(key))))

    async def the_stranger_is_refused() -> bool:
        return "signature: does not match" in place.system.log("gateway")

    await until(the_stranger_is_refused, "the forged configuration is refused")
    before = await place.readings()

    async def lines_go_on() -> bool:
        return await place.readings() > before + METERS

    await until(lines_go_on, "the lines go on")
    async with place.db.transaction(SYSTEM) as conn:
        assert (await configuring.get_configuration(conn, place.gateway_id, last)).state == "confirmed"
