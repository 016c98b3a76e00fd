"""One simulated CJ/T 188 meter: `answer(frame)` says what it sends back."""

from collections.abc import Callable
from datetime import datetime

from gateway.templates.cjt188 import Cjt188Template, Value188
from simulators.bcd import bytes_of
from simulators.called import CalledMeter, checked
from simulators.modbus.dwelling import Dwelling

NO_SUCH_DATA = b"\x02\x00"


class Refused(Exception):
    """The meter answers with its status word and that it will not."""


class SimulatedCjt188(CalledMeter):
    """Answers frames for one address."""

    def __init__(
        self,
        device: str,
        address: str,
        template: Cjt188Template,
        dwelling: Dwelling,
        now_ms: Callable[[], int],
        advance: bool = False,
    ) -> None:
        super().__init__(device, address, dwelling, now_ms, advance)
        self.template = template
        self.unit_codes: dict[str, int] = {}
        """Unit codes by channel that a test wants to be sent."""
        self.valve_open = True
        self.valve_stuck = False
        self.valve_moves_for = 0
        """How many readings the motor takes until the new state is shown."""
        self.orders: list[bytes] = []
        """Orders to the valve that were obeyed."""
        self._moving: tuple[int, bool] | None = None

    def answer(self, frame: bytes) -> bytes | None:
        """What is sent back to a frame from the bus; None when it is not for this meter."""
        parts = _unwrapped(frame)
        if parts is None:
            return None
        kind, address, control, data = parts
        if kind not in (0xAA, self._kind) or not self.is_called(address) or len(data) < 3:
            return None
        head, serial = data[:2], data[2:3]
        name = (head if self.template.id_order == "high-first" else head[::-1]).hex().upper()
        try:
            body = self._handled(control, name, data[3:])
        except Refused:
            return self._wrapped(control | 0xC0, serial + NO_SUCH_DATA)
        return self._wrapped(control | 0x80, head + (serial if self.template.repeats_serial else b"\x00") + body)

    def state(self, channel: str) -> int | None:
        """1 while the valve is open."""
        return int(self.valve_open) if channel == "valve_state" else None

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

    @property
    def _kind(self) -> int:
        return int(self.template.kind, 16)

    def _wrapped(self, control: int, data: bytes) -> bytes:
        return self.framed(bytes([0x68, self._kind]) + bytes.fromhex(self.address)[::-1], control, data)


def _unwrapped(frame: bytes) -> tuple[int, str, int, bytes] | None:
    """(kind, address, control, data) of a right frame."""
    bare = checked(frame, 11)
    return None if bare is None else (bare[1], bare[2:9][::-1].hex().upper(), bare[9], bare[11:-2])
