"""A line without a line: a simulated meter that is asked directly, and failures on order."""

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from gateway.errors import ExceptionReply
from gateway.templates.modbus import ModbusTemplate
from simulators.modbus.dwelling import Dwelling
from simulators.modbus.meter import Refused, SimulatedMeter

Asked = tuple[str, int, int, Any]
"""What was done, by which function, at which address, and the count or the values."""


class DirectWire:
    """Implements ModbusWire; `fails` is asked before each transaction and raises what the device does wrong."""

    def __init__(self, template: ModbusTemplate, start_ms: int = 1_780_000_000_000) -> None:
        self.now_ms = start_ms
        home = Dwelling(1, "m", template.medium.value, ZoneInfo("Asia/Shanghai"))
        self.meter = SimulatedMeter("m", template, home, lambda: self.now_ms)
        self.asked: list[Asked] = []
        self.connection = 1
        """As ModbusWire says."""
        self.fails: Callable[[Asked], None] = lambda _asked: None

    def clock(self) -> int:
        """Milliseconds since 1970."""
        return self.now_ms

    def taken(self) -> list[Asked]:
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked

    async def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int]:
        """As ModbusWire says."""
        assert unit == 7
        self._begin(("read", function, address, count))
        try:
            return self.meter.read(function, address, count)
        except Refused as refused:
            raise ExceptionReply(refused.code) from refused

    async def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> None:
        """As ModbusWire says."""
        assert unit == 7
        self._begin(("write", function, address, tuple(values)))
        try:
            self.meter.write(function, address, values)
        except Refused as refused:
            raise ExceptionReply(refused.code) from refused

    def _begin(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.fails(asked)
