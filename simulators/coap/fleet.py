"""All simulated CoAP meters of a site: battery meters push where its server lines listen, mains meters serve."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from aiocoap import Context
from aiocoap.numbers.constants import COAP_PORT

from gateway.drivers.coap.context import TRANSPORT
from gateway.drivers.coap.settings import CoapClientLineSettings, CoapDevice, CoapServerLineSettings
from gateway.templates.library import Library
from gateway.templates.senml import SenmlTemplate
from simulators.coap.battery import BatteryMeter
from simulators.coap.mains import MainsMeter
from simulators.coap.meter import SenmlMeter
from simulators.coap.senml import CBOR, JSON
from simulators.modbus.dwelling import Dwelling


@dataclass(frozen=True, slots=True)
class CoapFleetOptions:
    """How the meters behave."""

    seed: int = 1
    time_zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    period_s: float = 60.0
    """Between two readings of a meter."""
    offline: float = 0.0
    """How often a battery meter reads, but does not push: what it kept comes with a later pack."""
    repeats: float = 0.0
    """How often it sends once more what is acknowledged."""
    library: Library = field(default_factory=Library)
    now_s: Callable[[], int] = lambda: int(time.time())


class CoapFleet:
    """Builds and runs the meters of CoAP lines; every second battery meter speaks CBOR, the others JSON."""

    def __init__(
        self, lines: Sequence[CoapServerLineSettings | CoapClientLineSettings], options: CoapFleetOptions
    ) -> None:
        self._options = options
        self._chance = random.Random(options.seed)
        self.batteries: dict[str, BatteryMeter] = {}
        self.mains: dict[str, tuple[MainsMeter, str]] = {}
        """Each with its address."""
        for line in lines:
            if isinstance(line, CoapServerLineSettings):
                for number, device in enumerate(line.devices):
                    path = f"m/{device.id}" if device.name is None else "senml"
                    form = CBOR if number % 2 else JSON
                    uri = f"coap://{line.host}:{line.port}/{path}"
                    self.batteries[device.id] = BatteryMeter(
                        self._meter(device), uri, form, options.seed, options.repeats
                    )
            else:
                for served in line.devices:
                    self.mains[served.id] = (MainsMeter(self._meter(served), CBOR), served.uri)

    async def run(self, stop: asyncio.Event) -> None:
        """Reads, pushes and serves until `stop`. Raises OSError when an address cannot be had."""
        context = await Context.create_client_context(transports=[TRANSPORT])
        try:
            for mains, uri in self.mains.values():
                parts = urlsplit(uri)
                await mains.start(parts.hostname or "", parts.port or COAP_PORT, parts.path.strip("/"))
            while not stop.is_set():
                await self._round(context)
                try:
                    async with asyncio.timeout(self._options.period_s):
                        await stop.wait()
                except TimeoutError:
                    continue
        finally:
            for mains, _ in self.mains.values():
                await mains.stop()
            await context.shutdown()

    async def _round(self, context: Context) -> None:
        now = self._options.now_s()
        for mains, _ in self.mains.values():
            mains.read(now)
        awake = []
        for battery in self.batteries.values():
            battery.read(now)
            if self._chance.random() >= self._options.offline:
                awake.append(battery.push(context))
        await asyncio.gather(*awake)

    def _meter(self, device: CoapDevice) -> SenmlMeter:
        template = self._options.library.meter(device.template)
        assert isinstance(template, SenmlTemplate)
        dwelling = Dwelling(self._options.seed, device.id, template.medium.value, self._options.time_zone)
        return SenmlMeter(device.name or "", template, dwelling)
