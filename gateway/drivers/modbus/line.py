"""The one place with I/O on a Modbus TCP connection: one owner, one transaction at a time, every reply judged."""

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from gateway.drivers.modbus.frame import Expected, judge
from gateway.drivers.turns import Turns
from gateway.errors import ExceptionReply, LineDown, MalformedReply, NoAnswer

_MOST_TRANSACTION = 65_000
"""pymodbus counts transactions up to here and starts again at 1."""


class ModbusTcpLine:
    """A connection to a Modbus TCP device or converter.

    A running transaction must never be cancelled: the answer would be taken for that of the next one. After a
    timeout or a malformed reply the connection is closed, so that nothing late can arrive on it, and transaction
    numbers go on counting over connections, so that a converter's late answer matches nothing either.
    """

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self.turns = Turns(self)
        self._client: AsyncModbusTcpClient | None = None
        self._transaction = 0
        self._open: Expected | None = None
        self._complaint: str | None = None
        self.busy_s = 0.0
        """Time spent in transactions since the start: the line's utilisation."""

    @property
    def connected(self) -> bool:
        """Whether a request can be sent now."""
        return self._client is not None and self._client.connected

    async def connect(self) -> None:
        """Opens a fresh connection. Raises LineDown."""
        self.close()
        client = AsyncModbusTcpClient(
            self._host,
            port=self._port,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._received,
            trace_connect=self._connection_changed,
        )
        if not await client.connect():
            client.close()
            raise LineDown(f"{self._host}:{self._port} does not accept connections")
        client.ctx.next_tid = self._transaction
        self._client = client

    def close(self) -> None:
        """Closes the connection; anything unread is thrown away."""
        if self._client is not None:
            self._client.close()
            self._client = None

    async def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int]:
        """Registers from `address` on, exactly `count` of them, by function 3 or 4.

        Raises ExceptionReply; NoAnswer and MalformedReply, after which the connection is closed; LineDown when
        there was none.
        """
        async with self.turns:
            return await self._read(unit, function, address, count)

    async def _read(self, unit: int, function: int, address: int, count: int) -> Sequence[int]:
        client = self._client
        if client is None or not client.connected:
            raise LineDown(f"{self._host}:{self._port} is not connected")
        ask: Callable[..., asyncio.Future[ModbusPDU]]
        ask = client.read_holding_registers if function == 3 else client.read_input_registers  # type: ignore[assignment]  # pymodbus types its mixin by the awaitable
        self._open, self._complaint = Expected(unit, function, count), None
        started = monotonic()
        try:
            reply = await ask(address, count=count, device_id=unit)
        except ModbusException as error:
            self.close()
            if self._complaint is not None:
                raise MalformedReply(self._complaint) from error
            raise NoAnswer(f"unit {unit} did not answer within {self._timeout_s} s") from error
        finally:
            self._open = None
            self._transaction = client.ctx.next_tid % _MOST_TRANSACTION
            self.busy_s += monotonic() - started
        if reply.isError():
            raise ExceptionReply(reply.exception_code)
        return reply.registers

    def _received(self, sending: bool, data: bytes) -> bytes:
        """Called by pymodbus with all bytes received since the question, before it looks at them."""
        if sending or self._open is None or self._client is None:
            return data
        complaint = judge(data, self._client.ctx.request_transaction_id, self._open)
        if complaint is None:
            return data
        self._complaint = complaint
        self._fail_open_question(f"malformed reply: {complaint}")
        return b""

    def _connection_changed(self, connected: bool) -> None:
        if not connected:
            self._fail_open_question("the connection broke while waiting for the answer")

    def _fail_open_question(self, why: str) -> None:
        """Ends the wait at once: pymodbus itself would sit out the whole timeout."""
        if self._client is None or self._open is None:
            return
        future = self._client.ctx.response_future
        if not future.done():
            future.set_exception(ModbusException(why))
