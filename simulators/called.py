"""What simulated meters that are called by their number have in common: what they show, and a clock of their own."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.templates.bcd import BcdRegister
from simulators.bcd import raw_of
from simulators.modbus.dwelling import Dwelling, is_cumulative


class CalledMeter(ABC):
    """Everything that a test wants to be otherwise is an attribute."""

    def __init__(
        self, device: str, address: str, dwelling: Dwelling, now_ms: Callable[[], int], advance: bool = False
    ) -> None:
        """With `advance` every cumulative register counts at least one step per answer."""
        self.device, self.address = device, address
        self.preamble = b"\xfe\xfe\xfe\xfe"
        self.overrides: dict[str, int | None] = {}
        """Raw numbers by channel that a test wants to be shown; None is shown as FF."""
        self.clock_error = timedelta(0)
        """The meter's clock minus the true time."""
        self.zone = ZoneInfo("Asia/Shanghai")
        self._dwelling, self._now_ms, self._advance = dwelling, now_ms, advance
        self._last: dict[str, int] = {}

    @abstractmethod
    def state(self, channel: str) -> int | None:
        """Of a relay or valve that the meter has; None for every other channel."""

    def raw(self, register: BcdRegister, at_ms: int) -> int | None:
        """What the meter shows for a channel."""
        channel = register.channel
        if channel in self.overrides:
            return self.overrides[channel]
        value = self.state(channel)
        if value is None:
            value = self._dwelling.value(channel, at_ms // 1000)
        if self._advance and is_cumulative(channel):
            step = max(1, int(register.factor))
            value = self._last[channel] = max(value, self._last.get(channel, -step) + step)
        return raw_of(register, value)

    def local_now(self) -> datetime:
        """What the meter's clock shows."""
        true = datetime.fromtimestamp(self._now_ms() / 1000, self.zone).replace(tzinfo=None)
        return true + self.clock_error

    def is_called(self, address: str) -> bool:
        """Whether `address`, in which A stands for any digit, means this meter."""
        return all(one in ("A", other) for one, other in zip(address, self.address, strict=True))

    def framed(self, head: bytes, control: int, data: bytes) -> bytes:
        """A frame from its first bytes, the control code and the data as sent."""
        body = head + bytes([control, len(data)]) + data
        return self.preamble + body + bytes([sum(body) & 0xFF, 0x16])


def checked(frame: bytes, head: int) -> bytes | None:
    """A right frame of which the last of `head` bytes is the length, without its preamble; None when it is not."""
    frame = frame.lstrip(b"\xfe")
    if len(frame) < head + 2 or frame[0] != 0x68 or frame[-1] != 0x16 or len(frame) != head + 2 + frame[head - 1]:
        return None
    return frame if sum(frame[:-2]) & 0xFF == frame[-2] else None
