"""Every reply is judged byte by byte."""

import pytest

from gateway.drivers.modbus.frame import Expected, judge

ASKED = Expected(unit=7, function=3, count=2)
GOOD = bytes.fromhex("0102 0000 0007 07 03 04 00010002")


def test_a_good_answer_and_each_of_its_beginnings_pass() -> None:
    for length in range(len(GOOD) + 1):
        assert judge(GOOD[:length], 0x0102, ASKED) is None


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ("0103 0000 0007 07 03 04 00010002", "transaction 259, asked 258"),
        ("0102 0001 0007 07 03 04 00010002", "protocol 1"),
        ("0102 0000 0002 07 03", "length 2"),
        ("0102 0000 0100 07 03", "length 256"),
        ("0102 0000 0007 08 03 04 00010002", "unit 8, asked 7"),
        ("0102 0000 0007 07 04 04 00010002", "function 4, asked 3"),
        ("0102 0000 0003 07 84 02", "function 132, asked 3"),
        ("0102 0000 0005 07 03 02 0001", "length 5, expected 7"),
        ("0102 0000 0007 07 03 03 00010002", "byte count 3, expected 4"),
        ("0102 0000 0004 07 83 02 00", "exception reply of 4 bytes"),
        ("0102 0000 0007 07 03 04 00010002 FF", "1 bytes behind"),
    ],
)
def test_anything_else_is_named(frame: str, complaint: str) -> None:
    judged = judge(bytes.fromhex(frame), 0x0102, ASKED)
    assert judged is not None
    assert judged.startswith(complaint)


def test_an_exception_reply_passes() -> None:
    assert judge(bytes.fromhex("0102 0000 0003 07 83 02"), 0x0102, ASKED) is None
