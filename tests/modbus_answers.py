"""A template and a memory of registers, asked without a line: what a visit decodes, and what it should."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.drivers.base import Group, Reading
from gateway.drivers.modbus.numbers import Absent, Raw
from gateway.drivers.modbus.program import compile_template
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_registers import Exponent, Factor, Number, Register
from simulators.modbus.image import raw_in, value_of

Memory = Mapping[int, int]


def template(*registers: dict[str, Any], **keys: Any) -> ModbusTemplate:
    """A template with these registers; a voltage by function 3 at address 0 as far as they say nothing else."""
    base = {"function": 3, "unit": "V"}
    rows = []
    for one in registers:
        row = base | ({} if "channels" in one else {"channel": "voltage_l1"}) | one
        rows.append(row if "parts" in row else {"address": 0, "type": "u16"} | row)
    made = ModbusTemplate.model_validate(
        {
            "vendor": "V", "model": "M", "medium": "electricity", "proven": "simulator",
            "sources": [{"reference": "r", "covers": "c"}], "transports": {}, "registers": rows,
        } | keys
    )  # fmt: skip
    assert not list(made.findings()), list(made.findings())
    return made


def visit(whole: ModbusTemplate, memory: Memory, instance: int = 0) -> tuple[dict[str, Reading], int, int]:
    """(readings by channel, missing, errors) of all channels; addresses that `memory` lacks hold 0xEEEE."""
    programs = compile_template(whole, instance=instance)

    def words(address: int, count: int) -> list[int]:
        return [memory.get(at, 0xEEEE) for at in range(address, address + count)]

    constants: list[Raw] = [Absent.ERROR] * programs.constant_count
    for reader in programs.constants:
        numbers = reader.unpack(words(reader.block.address, reader.block.count))
        for position, place in reader.places:
            constants[place] = numbers[position]
    found: dict[str, Reading] = {}
    missing = errors = 0
    for read in programs.of(frozenset(Group)):
        ((_, decoder),) = read.decoders
        readings, less, wrong = decoder.decode(words(read.block.address, read.block.count), constants)
        found |= {reading.channel: reading for reading in readings}
        missing, errors = missing + less, errors + wrong
    return found, missing, errors


def expected(
    whole: ModbusTemplate, registers: Iterable[Register], memories: Mapping[int, Memory]
) -> tuple[dict[str, int], int, int]:
    """The same by fractions, number by number, from what each function reads."""
    found: dict[str, int] = {}
    missing = errors = 0
    for register in registers:
        layouts = [whole.layout(one, register.function) for one in register.numbers]
        raws = [raw_in(layout, memories[layout.function]) for layout in layouts]
        judged = [judge(whole, number, raw) for number, raw in zip(register.numbers, raws, strict=True)]
        worst = next((one for one in judged if one is not None), None)
        value = None if worst else value_of(register, tuple(raw for raw in raws if raw is not None))
        if value is not None:
            found[register.channel] = value
        elif worst is Absent.MISSING:
            missing += 1
        else:
            errors += 1
    return found, missing, errors


def judge(whole: ModbusTemplate, number: Number, raw: float | None) -> Absent | None:
    """Why a number cannot be used, if it cannot."""
    if raw is None:
        return Absent.MISSING
    if math.isnan(raw):
        return Absent(whole.nan) if number.type.is_float else Absent.ERROR
    if math.isinf(raw) or (isinstance(number, Exponent) and abs(raw) > 36):
        return Absent.ERROR
    if isinstance(number, Factor) and (raw <= 0 if number.values is None else int(raw) not in number.values):
        return Absent.ERROR
    return None
