"""Every kind of line that a site file may have."""

from typing import Annotated

from pydantic import Field

from gateway.drivers.coap.settings import CoapClientLineSettings, CoapServerLineSettings
from gateway.drivers.settings import BusLineSettings, ModbusTcpLineSettings

PolledLineSettings = ModbusTcpLineSettings | BusLineSettings
"""Lines whose meters are asked one after the other."""

LineSettings = Annotated[
    ModbusTcpLineSettings | BusLineSettings | CoapServerLineSettings | CoapClientLineSettings,
    Field(discriminator="protocol"),
]
"""The key `protocol` tells which."""
