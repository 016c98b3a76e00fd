"""One simulated DL/T 645 meter: `answer(frame)` says what it sends back."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from gateway.templates.dlt645 import Dlt645Template
from simulators.bcd import bytes_of
from simulators.called import CalledMeter, checked
from simulators.modbus.dwelling import Dwelling

NO_SUCH_DATA, NOT_AUTHORISED = 0x02, 0x04
_TRIP, _PERMIT, _CLOSE = 0x1A, 0x1B, 0x1C
_BROADCAST: Final = "999999999999"
_MOST_CORRECTION: Final = timedelta(minutes=5)


class Refused(Exception):
    """The meter answers with this error byte."""

    def __init__(self, word: int) -> None:
        super().__init__(word)
        self.word = word


class SimulatedDlt645(CalledMeter):
    """Answers frames for one address."""

    def __init__(
        self,
        device: str,
        address: str,
        template: Dlt645Template,
        dwelling: Dwelling,
        now_ms: Callable[[], int],
        advance: bool = False,
    ) -> None:
        super().__init__(device, address, dwelling, now_ms, advance)
        self.template = template
        self.password, self.level = "000000", 2
        self.relay_open = False
        self.ordered_open = False
        self.relay_stuck = False
        """The order is obeyed, the contacts do not move."""
        self.most_data = 200
        """Bytes of an item in one frame; longer ones go on in others."""
        self.orders: list[int] = []
        """Control orders that were obeyed."""
        self.broadcasts: list[bytes] = []
        self._rests: dict[bytes, list[bytes]] = {}

    def answer(self, frame: bytes) -> bytes | None:
        """What is sent back to a frame from the bus; None when it is not for this meter."""
        parts = _unwrapped(frame)
        if parts is None:
            return None
        address, control, data = parts
        if address == _BROADCAST:
            self._broadcast(control, data)
            return None
        if not self.is_called(address) or (self.template.edition == "1997") != (control == 0x01):
            return None
        try:
            more, body = self._handled(control, data)
        except Refused as refused:
            return self._wrapped(control | 0xC0, bytes([refused.word]))
        return self._wrapped(control | 0x80 | (0x20 if more else 0), body)

    def state(self, channel: str) -> int | None:
        """1 while the relay is closed."""
        return int(not self.relay_open) if channel == "relay_state" else None

    def _handled(self, control: int, data: bytes) -> tuple[bool, bytes]:
        """(whether more follows, data of the answer). Raises Refused."""
        if control in (0x01, 0x11):
            return self._read(data)
        if control == 0x12:
            return self._read_on(data[:4], data[4:])
        if control == 0x13 and not data:
            return False, bytes.fromhex(self.address)[::-1]
        if control == 0x14:
            self._write(data[:4], data[4:12], data[12:])
            return False, b""
        if control == 0x1C:
            self._control(data[:8], data[8:])
            return False, b""
        raise Refused(0x01)

    def _read(self, item: bytes) -> tuple[bool, bytes]:
        content = self._content(item[::-1].hex().upper())
        pieces = [content[at : at + self.most_data] for at in range(0, len(content), self.most_data)]
        self._rests[item] = pieces
        return len(pieces) > 1, item + pieces[0]

    def _read_on(self, item: bytes, number: bytes) -> tuple[bool, bytes]:
        pieces = self._rests.get(item, [])
        if len(number) != 1 or not 0 < number[0] < len(pieces):
            raise Refused(NO_SUCH_DATA)
        return number[0] + 1 < len(pieces), item + pieces[number[0]] + number

    def _content(self, name: str) -> bytes:
        """Data of an item. Raises Refused."""
        relay, clock = self.template.controls.relay, self.template.controls.clock
        if relay is not None and name == relay.status:
            return self._status(relay.status_size, int(relay.open_mask, 16), int(relay.ordered_open_mask, 16))
        if clock is not None and name in (clock.date, clock.time):
            now = self.local_now()
            digits = f"{now:%y%m%d}0{now.isoweekday() % 7}" if name == clock.date else f"{now:%H%M%S}"
            return bytes.fromhex(digits)[::-1]
        members = [item for item in self.template.registers if item.id == name]
        if not members:
            raise Refused(NO_SUCH_DATA)
        at_ms = self._now_ms()
        data = bytearray(b"\xff" * max(item.offset + item.stride for item in members))
        for item in members:
            data[item.offset : item.offset + item.size] = bytes_of(item, self.raw(item, at_ms))
        return bytes(data)

    def _status(self, size: int, open_mask: int, ordered_mask: int) -> bytes:
        word = (open_mask if self.relay_open else 0) | (ordered_mask if self.ordered_open else 0)
        return word.to_bytes(size, "little")

    def _authorise(self, password: bytes) -> None:
        if password[:4] != bytes([self.level]) + bytes.fromhex(self.password)[::-1] or len(password) != 8:
            raise Refused(NOT_AUTHORISED)

    def _control(self, password: bytes, order: bytes) -> None:
        self._authorise(password)
        if self.template.controls.relay is None or len(order) != 8 or order[0] not in (_TRIP, _PERMIT, _CLOSE):
            raise Refused(0x01)
        until = datetime.strptime(order[2:][::-1].hex(), "%y%m%d%H%M%S")  # noqa: DTZ007  # a meter knows no zone
        if until < self.local_now():
            raise Refused(0x01)
        self.orders.append(order[0])
        self.ordered_open = order[0] == _TRIP
        if not self.relay_stuck and order[0] != _PERMIT:
            self.relay_open = order[0] == _TRIP

    def _write(self, item: bytes, password: bytes, value: bytes) -> None:
        self._authorise(password)
        clock = self.template.controls.clock
        name, digits, now = item[::-1].hex().upper(), value[::-1].hex(), self.local_now()
        if clock is None or name not in (clock.date, clock.time):
            raise Refused(NO_SUCH_DATA)
        if name == clock.date:
            shown = datetime.strptime(digits[:6] + f"{now:%H%M%S}", "%y%m%d%H%M%S")  # noqa: DTZ007
        else:
            shown = datetime.strptime(f"{now:%y%m%d}{digits}", "%y%m%d%H%M%S")  # noqa: DTZ007
        self.clock_error += shown - now.replace(microsecond=0)

    def _broadcast(self, control: int, data: bytes) -> None:
        self.broadcasts.append(bytes([control]) + data)
        if control == 0x08 and len(data) == 6:
            told = datetime.strptime(data[::-1].hex(), "%y%m%d%H%M%S")  # noqa: DTZ007
            if abs(told - self.local_now()) <= _MOST_CORRECTION:
                self.clock_error += told - self.local_now().replace(microsecond=0)

    def _wrapped(self, control: int, data: bytes) -> bytes:
        head = b"\x68" + bytes.fromhex(self.address)[::-1] + b"\x68"
        return self.framed(head, control, bytes((value + 0x33) & 0xFF for value in data))


def _unwrapped(frame: bytes) -> tuple[str, int, bytes] | None:
    """(address, control, data) of a right frame."""
    bare = checked(frame, 10)
    if bare is None or bare[7] != 0x68:
        return None
    return bare[1:7][::-1].hex().upper(), bare[8], bytes((value - 0x33) & 0xFF for value in bare[10:-2])
