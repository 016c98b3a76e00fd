"""One simulated CJ/T 188 meter: `answer(frame)` says what it sends back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.templates.cjt188 import Cjt188Template, Value188
from simulators.bcd import bytes_of, raw_of
from simulators.modbus.dwelling import Dwelling, is_cumulative

NO_SUCH_DATA = b"\x02\x00"


class Refused(Exception):
    """The meter answers with its status word and that it will not."""


class SimulatedCjt188:
    """Answers frames for one address. Everything that a test wants to be otherwise is an attribute."""

    def __init__(
        self,
        device: str,
        address: str,
        template: Cjt188Template,
        dwelling: Dwelling,
        now_ms: Callable[[], int],
        advance: bool = False,
    ) -> None:
        self.device, self.address, self.template = device, address, template
        self.preamble = b"\xfe\xfe\xfe\xfe"
        self.overrides: dict[str, int | None] = {}
        """Raw numbers by channel that a test wants to be shown; None is shown as FF."""
        self.unit_codes: dict[str, int] = {}
        """Unit codes by channel that a test wants to be sent."""
        self.valve_open = True
        self.valve_stuck = False
        self.valve_moves_for = 0
        """How many readings the motor takes until the new state is shown."""
        self.clock_error = timedelta(0)
        """The meter's clock minus the true time."""
        self.zone = ZoneInfo("Asia/Shanghai")
        self.orders: list[bytes] = []
        """Orders to the valve that were obeyed."""
        self.values = {register.channel: register for register in template.registers}
        self._dwelling, self._now_ms, self._advance = dwelling, now_ms, advance
        self._last: dict[str, int] = {}
        self._moving: tuple[int, bool] | None = None

    def answer(self, frame: bytes) -> bytes | None:
        """What is sent back to a frame from the bus; None when it is not for this meter."""
        parts = _unwrapped(frame)
        if parts is None or not self._is_meant(*parts[:2]):
            return None
        _, _, control, data = parts
        if len(data) < 3:
            return None
        head, serial = data[:2], data[2:3]
        name = (head if self.template.id_order == "high-first" else head[::-1]).hex().upper()
        try:
            body = self._handled(control, name, data[3:])
        except Refused:
            return self._wrapped(control | 0xC0, serial + NO_SUCH_DATA)
        return self._wrapped(control | 0x80, head + (serial if self.template.repeats_serial else b"\x00") + body)

    def raw(self, register: Value188, at_ms: int) -> int | None:
        """What the meter shows for a channel."""
        if register.channel in self.overrides:
            return self.overrides[register.channel]
        if register.channel == "valve_state":
            return raw_of(register, int(self.valve_open))
        value = self._dwelling.value(register.channel, at_ms // 1000)
        if self._advance and is_cumulative(register.channel):
            step = max(1, int(register.factor))
            value = self._last[register.channel] = max(value, self._last.get(register.channel, -step) + step)
        return raw_of(register, value)

    def local_now(self) -> datetime:
        """What the meter's clock shows."""
        true = datetime.fromtimestamp(self._now_ms() / 1000, self.zone).replace(tzinfo=None)
        return true + self.clock_error

    def _is_meant(self, kind: int, address: str) -> bool:
        pairs = zip(address, self.address, strict=True)
        return kind in (0xAA, int(self.template.kind, 16)) and all(one in ("A", other) for one, other in pairs)

    def _handled(self, control: int, name: str, value: bytes) -> bytes:
        """Data of the answer behind the serial number. Raises Refused."""
        if control == 0x01 and name in self.template.lengths and not value:
            return self._content(name)
        if control == 0x03 and name == "810A":
            return b""
        controls = self.template.controls
        if control == 0x04 and controls.valve is not None and name == controls.valve.id:
            return self._valve(value)
        if control == 0x04 and controls.clock is not None and name == controls.clock.id and len(value) == 7:
            told = datetime.strptime(value[::-1].hex(), "%Y%m%d%H%M%S")  # noqa: DTZ007  # a meter knows no zone
            self.clock_error += told - self.local_now().replace(microsecond=0)
            return b""
        raise Refused

    def _valve(self, value: bytes) -> bytes:
        valve = self.template.controls.valve
        assert valve is not None
        if value not in (bytes.fromhex(valve.open), bytes.fromhex(valve.close)):
            raise Refused
        self.orders.append(value)
        if not self.valve_stuck:
            self._moving = (self.valve_moves_for, value == bytes.fromhex(valve.open))
        return b"\x00\x00"

    def _content(self, name: str) -> bytes:
        self._move()
        at_ms = self._now_ms()
        data = bytearray(self.template.lengths[name])
        for register in self.template.registers:
            if register.id == name:
                self._put(data, register, at_ms)
        valve, clock = self.template.controls.valve, self.template.controls.clock
        if valve is not None and valve.status == name:
            state = int(valve.is_open if self.valve_open else valve.is_closed, 16)
            rest = data[valve.status_offset] & ~int(valve.mask, 16)
            data[valve.status_offset] = rest | state
        if clock is not None and clock.status == name:
            data[clock.status_offset : clock.status_offset + 7] = bytes.fromhex(f"{self.local_now():%Y%m%d%H%M%S}")[
                ::-1
            ]
        return bytes(data)

    def _put(self, data: bytearray, register: Value188, at_ms: int) -> None:
        shown = bytes_of(register, self.raw(register, at_ms))
        for index, byte in enumerate(shown, start=register.offset):
            data[index] |= byte  # several channels may be bits of one status byte
        if register.unit_code is not None:
            data[register.offset + register.size] = self.unit_codes.get(register.channel, int(register.unit_code, 16))

    def _move(self) -> None:
        if self._moving is not None:
            left, goal = self._moving
            self._moving = None if left <= 0 else (left - 1, goal)
            if left <= 0:
                self.valve_open = goal

    def _wrapped(self, control: int, data: bytes) -> bytes:
        address = bytes.fromhex(self.address)[::-1]
        body = b"\x68" + bytes([int(self.template.kind, 16)]) + address + bytes([control, len(data)]) + data
        return self.preamble + body + bytes([sum(body) & 0xFF, 0x16])


def _unwrapped(frame: bytes) -> tuple[int, str, int, bytes] | None:
    """(kind, address, control, data) of a right frame behind its preamble."""
    frame = frame.lstrip(b"\xfe")
    if len(frame) < 13 or frame[0] != 0x68 or frame[-1] != 0x16 or len(frame) != 13 + frame[10]:
        return None
    if sum(frame[:-2]) & 0xFF != frame[-2]:
        return None
    return frame[1], frame[2:9][::-1].hex().upper(), frame[9], frame[11:-2]
