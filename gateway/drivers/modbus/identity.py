"""Which model answers on a unit, and its serial number: for probing and scanning a line."""

from collections.abc import Iterable, Mapping, Sequence

from gateway.drivers.modbus.numbers import Unpacker, reader
from gateway.drivers.modbus.wire import ModbusWire
from gateway.errors import ExceptionReply
from gateway.templates.modbus import Identifier, ModbusTemplate
from gateway.templates.modbus_registers import RegisterType


async def read_identifier(
    wire: ModbusWire, unit: int, template: ModbusTemplate, identifier: Identifier
) -> int | str | None:
    """The number or the text that the device holds; None when it is no number or no ASCII.

    Raises like `ModbusWire.read`.
    """
    registers = await wire.read(unit, identifier.function, identifier.address, identifier.registers)
    return _decoded(template, identifier, registers)


async def matching(wire: ModbusWire, unit: int, templates: Mapping[str, ModbusTemplate]) -> tuple[str, ...]:
    """Ids of the templates whose whole identity the unit shows; a read that it refuses is no match.

    Each place is read once, however many templates look at it. Raises NoAnswer, MalformedReply and LineDown.
    """
    answers: dict[tuple[int, int, int], Sequence[int] | None] = {}
    found: list[str] = []
    for template_id, template in templates.items():
        if template.identity and await _agrees(wire, unit, template, answers):
            found.append(template_id)
    return tuple(found)


async def _agrees(
    wire: ModbusWire,
    unit: int,
    template: ModbusTemplate,
    answers: dict[tuple[int, int, int], Sequence[int] | None],
) -> bool:
    for mark in template.identity:
        place = (mark.function, mark.address, mark.registers)
        if place not in answers:
            try:
                answers[place] = await wire.read(unit, *place)
            except ExceptionReply:
                answers[place] = None
        registers = answers[place]
        if registers is None or _decoded(template, mark, registers) not in mark.equals:
            return False
    return True


def _decoded(template: ModbusTemplate, identifier: Identifier, registers: Sequence[int]) -> int | str | None:
    if not isinstance(identifier.type, RegisterType):
        order = identifier.byte_order or template.byte_order
        return _text(registers, identifier.characters or 0, order == "little")
    layout = template.bits_of(identifier, identifier.type, identifier.function, identifier.address)
    unpack = Unpacker(layout.address, len(registers), [layout])
    number = reader(layout, unpack.position[layout])(unpack(registers))
    return number if isinstance(number, int) else None


def _text(registers: Iterable[int], characters: int, swapped: bool) -> str | None:
    data = b"".join(word.to_bytes(2, "little" if swapped else "big") for word in registers)
    stripped = data[:characters].rstrip(b"\0 ")
    return stripped.decode("ascii") if stripped.isascii() else None
