"""A small Modbus TCP server of its own: it must also be able to be silent, late and wrong on purpose."""

import asyncio
from collections.abc import Mapping
from typing import Final, cast

from simulators.modbus.answers import Answers, answer_pdu
from simulators.modbus.faults import Fault

_GARBAGE: Final = bytes((7 * index + 91) & 0xFF for index in range(24))
_HEADER: Final = 7


class MeterLine:
    """One listening socket with the meters behind it, by unit id. A unit that is not there stays silent."""

    def __init__(self, name: str, meters: Mapping[int, Answers]) -> None:
        self.name = name
        self.meters = dict(meters)
        self.requests = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()

    @property
    def port(self) -> int:
        """Where it listens, once started."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 takes a free one. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), host, port)

    async def stop(self) -> None:
        """Stops listening and closes every connection, as a power cut would."""
        if self._server is not None:
            self._server.close()
            for transport in list(self._open):
                transport.abort()
            await self._server.wait_closed()
            self._server = None

    def opened(self, transport: asyncio.Transport) -> None:
        """A connection came."""
        self._open.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        """A connection went."""
        self._open.discard(transport)


class _Connection(asyncio.Protocol):
    def __init__(self, line: MeterLine) -> None:
        self._line = line
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._line.opened(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        assert self._transport is not None
        self._line.closed(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 6:
            end = 6 + int.from_bytes(self._buffer[4:6], "big")
            if len(self._buffer) < end:
                return
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            if len(frame) > _HEADER:
                self._answer(frame)

    def _answer(self, request: bytes) -> None:
        self._line.requests += 1
        meter = self._line.meters.get(request[6])
        if meter is None:
            return
        fault = meter.faults.draw()
        answer = _frame(request, answer_pdu(meter, request[7:], fault))
        late_s = meter.faults.lateness()
        match fault:
            case Fault.SILENT:
                return
            case Fault.LATE:
                self._send_later(late_s, answer)
            case Fault.DOUBLED:
                self._send(answer + answer)
            case Fault.DOUBLED_LATE:
                self._send(answer)
                self._send_later(late_s, answer)
            case Fault.STRAY:
                self._send(answer)
                self._send_later(late_s, _GARBAGE[:5])
            case Fault.CUT:
                self._send(answer[: len(answer) // 2])
                if self._transport is not None:
                    self._transport.close()
            case _:
                self._send(_spoilt(fault, answer))

    def _send_later(self, seconds: float, frame: bytes) -> None:
        asyncio.get_running_loop().call_later(seconds, self._send, frame)

    def _send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)


def _frame(request: bytes, pdu: bytes) -> bytes:
    return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def _spoilt(fault: Fault | None, answer: bytes) -> bytes:
    """The header wrong in what `fault` says."""
    match fault:
        case Fault.GARBAGE:
            return _GARBAGE
        case Fault.WRONG_TRANSACTION:
            position, value = 1, answer[1] ^ 0x5A
        case Fault.WRONG_PROTOCOL:
            position, value = 3, 9
        case Fault.WRONG_UNIT:
            position, value = 6, answer[6] ^ 0x21
        case _:
            return answer
    return answer[:position] + bytes([value]) + answer[position + 1 :]
