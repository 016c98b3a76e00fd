"""A Modbus line: reads and writes of any unit over a bus or a connection."""

from collections.abc import Sequence

from gateway.drivers.bus.bus import Bus
from gateway.drivers.bus.question import ask_without_doubt
from gateway.drivers.modbus.framing import Framing, Manners, Prepared
from gateway.drivers.modbus.pdu import Decode, Values, read_request, write_request

_USUAL = Manners()


class ModbusLine:
    """Speaks Modbus on `bus`, which other protocols may share."""

    def __init__(self, bus: Bus, framing: Framing) -> None:
        self.bus = bus
        self.turns = bus.turns
        self._framing = framing
        self._manners: dict[int, Manners] = {}
        self._reads: dict[tuple[int, int, int, int], tuple[Prepared, Decode]] = {}

    def treat(self, unit: int, manners: Manners) -> None:
        """Says what `unit` needs; before it is asked for the first time."""
        self._manners[unit] = manners

    async def read(self, unit: int, function: int, address: int, count: int) -> Values:
        """`count` registers by function 3 or 4, or bits as 0 and 1 by function 1 or 2, from the zero-based `address`.

        Raises ExceptionReply, NoAnswer, MalformedReply; LineDown when there is no connection, ValueError for what no
        device could answer.
        """
        key = (unit, function, address, count)
        known = self._reads.get(key)
        if known is None:
            request = read_request(function, address, count)
            prepared = self._framing.prepare(unit, request, self._manners.get(unit, _USUAL))
            known = self._reads[key] = prepared, request.decode
        prepare, decode = known
        return decode(await ask_without_doubt(self.bus, prepare()))

    async def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> None:
        """Writes registers by function 6 or 16, bits by 5 or 15. Returns when the device has confirmed it.

        Raises like `read`. After NoAnswer and MalformedReply it may have been carried out: only reading back tells.
        What is read afterwards is never an answer from before.
        """
        request = write_request(function, address, values)
        question = self._framing.prepare(unit, request, self._manners.get(unit, _USUAL))()
        await self.bus.ask(question)

    @property
    def busy_s(self) -> float:
        """Time spent in transactions since the start: the line's utilisation."""
        return self.bus.busy_s

    @property
    def connected(self) -> bool:
        """Whether a request can be sent now."""
        return self.bus.connected

    @property
    def connection(self) -> int:
        """The number of the connection that stands, 0 while none does."""
        return self.turns.connects if self.connected else 0

    async def connect(self) -> None:
        """Opens a fresh connection. Raises LineDown."""
        await self.bus.connect()

    def close(self) -> None:
        """Closes the connection; anything unread is thrown away."""
        self.bus.close()
