"""A small Modbus TCP server of its own: it must also be able to be silent, late and wrong on purpose."""

import asyncio
from typing import cast

from simulators.modbus.faults import Fault
from simulators.modbus.meter import Refused, SimulatedMeter


class MeterLine:
    """One listening socket with the meters behind it, by unit id. A unit that is not there stays silent."""

    def __init__(self, name: str, meters: dict[int, SimulatedMeter]) -> None:
        self.name = name
        self.meters = meters
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
            if len(frame) == 12:
                self._answer(frame)

    def _answer(self, request: bytes) -> None:
        self._line.requests += 1
        meter = self._line.meters.get(request[6])
        if meter is None:
            return
        fault = meter.faults.draw()
        if fault is Fault.SILENT:
            return
        if fault in (Fault.EXCEPTION, Fault.BUSY):
            self._send(_exception(request, 4 if fault is Fault.EXCEPTION else 6))
            return
        address, count = int.from_bytes(request[8:10], "big"), int.from_bytes(request[10:12], "big")
        try:
            registers = meter.read(request[7], address, count)
        except Refused as refused:
            self._send(_exception(request, refused.code))
            return
        body = b"".join(register.to_bytes(2, "big") for register in registers)
        if fault is None:
            self._send(_frame(request, request[7:8] + bytes([len(body)]) + body))
        elif fault is Fault.LATE:
            frame = _frame(request, request[7:8] + bytes([len(body)]) + body)
            asyncio.get_running_loop().call_later(meter.faults.late_s, self._send, frame)
        else:
            self._send(_malformed(fault, request, body))
            if fault is Fault.CUT and self._transport is not None:
                self._transport.close()

    def _send(self, frame: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame)


def _frame(request: bytes, pdu: bytes) -> bytes:
    return request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7] + pdu


def _exception(request: bytes, code: int) -> bytes:
    return _frame(request, bytes([request[7] | 0x80, code]))


def _malformed(fault: Fault, request: bytes, body: bytes) -> bytes:
    good = _frame(request, request[7:8] + bytes([len(body)]) + body)
    if fault is Fault.SHORT:
        return _frame(request, request[7:8] + bytes([len(body) - 2]) + body[:-2])
    if fault is Fault.LONG:
        return _frame(request, request[7:8] + bytes([len(body) + 1]) + body + b"\x55")
    if fault is Fault.CUT:
        return good[: len(good) // 2]
    if fault is Fault.GARBAGE:
        return bytes((7 * index + 91) & 0xFF for index in range(24))
    position, value = {
        Fault.WRONG_TRANSACTION: (1, good[1] ^ 0x5A),
        Fault.WRONG_PROTOCOL: (3, 9),
        Fault.WRONG_UNIT: (6, good[6] ^ 0x21),
        Fault.WRONG_FUNCTION: (7, 7 - good[7]),
        Fault.BAD_BYTE_COUNT: (8, good[8] ^ 2),
    }[fault]
    return good[:position] + bytes([value]) + good[position + 1 :]
