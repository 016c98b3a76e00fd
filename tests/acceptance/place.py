"""The running system as the cloud sees it: it orders, configures, and looks at what came in."""

import uuid
from datetime import timedelta
from typing import Any

import aiomqtt
import yaml

from cloud.devices import configuring, service
from cloud.devices.records import Command as Order
from cloud.devices.records import Configuration as Stored
from cloud.kit.db import SYSTEM, Database
from gateway.contract import topics
from gateway.contract.messages import Action
from gateway.contract.topics import Down
from tests.acceptance.system import GATEWAY, PASSWORDS, PROJECT, System, system_rows, until


class Place:
    """The running system as the cloud sees it."""

    def __init__(self, db: Database, system: System, project_id: int, gateway_id: int, devices: list[int]) -> None:
        self.db, self.system = db, system
        self.project_id, self.gateway_id, self.devices = project_id, gateway_id, devices

    async def order(self, action: Action, device: int = 0) -> uuid.UUID:
        async with self.db.transaction(SYSTEM) as conn:
            return await service.queue_command(
                conn, self.project_id, self.devices[device], action, {}, "staff", "test", timedelta(seconds=60)
            )

    async def of(self, order_id: uuid.UUID) -> Order:
        async with self.db.transaction(SYSTEM) as conn:
            return await service.get_command(conn, order_id)

    async def ends(self, order_id: uuid.UUID) -> Order:
        async def has_ended() -> bool:
            return (await self.of(order_id)).state in ("done", "failed", "expired", "uncertain")

        await until(has_ended, "the order has ended")
        return await self.of(order_id)

    async def configure(self, site: dict[str, Any], confirm_s: int = 10) -> int:
        async with self.db.transaction(SYSTEM) as conn:
            made = await configuring.configure(
                conn, self.gateway_id, yaml.safe_dump(site), {}, "staff", "test", confirm_s
            )
        return made.number

    async def becomes(self, number: int, state: str) -> str:
        """Waits for a configuration's state; gives its detail."""

        async def is_there() -> bool:
            return (await self._configuration(number)).state == state

        await until(is_there, f"configuration {number} is {state}", 60.0)
        return (await self._configuration(number)).detail

    async def _configuration(self, number: int) -> Stored:
        async with self.db.transaction(SYSTEM) as conn:
            return await configuring.get_configuration(conn, self.gateway_id, number)

    async def publishes(self, kind: Down, payload: bytes) -> None:
        """Somebody who has got hold of the broker, with the rights of the cloud's own process."""
        broker = self.system.broker
        async with aiomqtt.Client(
            broker.host, broker.port, username="cloud.ingest", password=PASSWORDS["ingest"], identifier="intruder"
        ) as client:
            await client.publish(topics.down(PROJECT, GATEWAY, kind), payload, qos=1)

    async def readings(self) -> int:
        return int((await system_rows(self.db, "SELECT count(*) AS n FROM unclaimed_reading"))[0]["n"])
