"""A unit is known by what its template says of itself."""

from typing import Any

import pytest

from gateway.drivers.modbus.identity import matching, read_identifier
from gateway.errors import ExceptionReply, NoAnswer
from gateway.templates.modbus import ModbusTemplate
from tests.modbus_answers import template
from tests.unit.gateway.drivers.modbus.wire import Asked, DirectWire

SUNS = {"function": 3, "address": 100, "type": "ascii", "characters": 4, "equals": ["SunS"]}
CODE = {"function": 3, "address": 110, "type": "u16", "mask": 0xFF00, "equals": [0x71, 0x72]}


def known_by(*marks: dict[str, Any], **keys: Any) -> ModbusTemplate:
    return template({}, identity=list(marks), **keys)


async def test_all_marks_must_agree() -> None:
    wire = DirectWire(known_by(SUNS, CODE))
    templates = {
        "both": known_by(SUNS, CODE),
        "one": known_by(CODE),
        "other": known_by(SUNS, CODE | {"equals": [5]}),
        "elsewhere": known_by(CODE | {"address": 7_000}),
        "anything": template({}),
    }
    assert await matching(wire, 7, templates) == ("both", "one")
    assert sorted(asked[2] for asked in wire.asked) == [100, 110, 7_000]


async def test_silence_is_no_answer_and_not_no_match() -> None:
    wire = DirectWire(known_by(SUNS))

    def fails(asked: Asked) -> None:
        raise NoAnswer("silent")

    wire.fails = fails
    with pytest.raises(NoAnswer):
        await matching(wire, 7, {"a": known_by(SUNS)})


@pytest.mark.parametrize(
    ("identifier", "words", "expected"),
    [
        ({"type": "ascii", "characters": 5}, [0x4142, 0x4344, 0x4546], "ABCDE"),
        ({"type": "ascii", "characters": 6}, [0x4142, 0x2020, 0], "AB"),
        ({"type": "ascii", "characters": 4, "byte_order": "little"}, [0x4241, 0x4443], "ABCD"),
        ({"type": "ascii", "characters": 2}, [0x80FF], None),
        ({"type": "bcd32"}, [0x1234, 0x5678], 12_345_678),
        ({"type": "bcd16"}, [0x12F4], None),
        ({"type": "u32", "word_order": "little"}, [1, 2], 0x2_0001),
    ],
)
async def test_numbers_and_texts(identifier: dict[str, Any], words: list[int], expected: int | str | None) -> None:
    whole = template({}, serial_number={"function": 4, "address": 9} | identifier)
    wire = DirectWire(whole)
    wire.meter._fixed = {(4, 9 + index): word for index, word in enumerate(words)}
    assert whole.serial_number is not None
    assert await read_identifier(wire, 7, whole, whole.serial_number) == expected


async def test_a_device_without_the_registers_says_so() -> None:
    whole = template({}, serial_number={"function": 4, "address": 9, "type": "u16"})
    wire = DirectWire(template({}))
    assert whole.serial_number is not None
    with pytest.raises(ExceptionReply):
        await read_identifier(wire, 7, whole, whole.serial_number)
