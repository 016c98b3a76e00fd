"""What a Modbus meter needs of its line, and what a list of writes came to."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from gateway.templates.modbus_controls import Write

UNREACHED: Final = (10, 11)
"""Exception codes of a converter whose bus is not there, or whose device does not answer on it."""
IN_DOUBT: Final = (5, 11)
"""Exception codes after which a write may have been carried out: the device works on it, or was silent."""


class ModbusWire(Protocol):
    """Carries reads and writes to any unit; one transaction at a time."""

    @property
    def connection(self) -> int:
        """The number of the connection that stands, 0 while none does: the next transaction then opens another."""

    async def read(self, unit: int, function: int, address: int, count: int) -> Sequence[int]:
        """`count` registers by function 3 or 4, coils as 0 and 1 by 1 or 2, from the zero-based `address`.

        Raises ExceptionReply, NoAnswer, MalformedReply; LineDown when there is no connection.
        """

    async def write(self, unit: int, function: int, address: int, values: Sequence[int]) -> None:
        """Writes registers by function 6 or 16, coils by 5 or 15. Returns when the device has confirmed it.

        Raises like `read`. After NoAnswer and MalformedReply it may have been carried out.
        """


async def write_all(wire: ModbusWire, unit: int, writes: Iterable[Write]) -> None:
    """One after the other; the first that fails ends it. Raises like `ModbusWire.write`."""
    for one in writes:
        await wire.write(unit, one.function, one.address, one.values)
