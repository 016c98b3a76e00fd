"""Requests are what the specification says, and answers are told from what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.modbus.pdu import judge_pdu, read_request, write_request
from gateway.errors import ExceptionReply, MalformedReply


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [
        (read_request(3, 0x0102, 2), "03 0102 0002"),
        (read_request(4, 0, 125), "04 0000 007d"),
        (read_request(1, 7, 2_000), "01 0007 07d0"),
        (read_request(2, 65_535, 1), "02 ffff 0001"),
        (write_request(5, 3, [1]), "05 0003 ff00"),
        (write_request(5, 3, [0]), "05 0003 0000"),
        (write_request(6, 3, [0x1234]), "06 0003 1234"),
        (write_request(15, 3, [1, 0, 1, 1, 0, 0, 0, 0, 1]), "0f 0003 0009 02 0d01"),
        (write_request(16, 3, [1, 0xFFFF]), "10 0003 0002 04 0001 ffff"),
    ],
)
def test_requests(request_: object, pdu: str) -> None:
    assert request_.pdu == bytes.fromhex(pdu)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "wrong",
    [(0, 0, 1), (5, 0, 1), (3, 0, 0), (3, 0, 126), (1, 0, 2_001), (3, -1, 1), (3, 65_535, 2), (4, 65_536, 1)],
)
def test_reads_that_no_device_could_answer(wrong: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        read_request(*wrong)


@pytest.mark.parametrize(
    "wrong",
    [(3, 0, [1]), (6, 0, []), (6, 0, [1, 2]), (6, 0, [65_536]), (5, 0, [2]), (5, 0, [-1]), (16, 0, [0] * 124),
     (15, 0, [0] * 1_969), (16, 65_535, [1, 2]), (6, -1, [1])],
)  # fmt: skip
def test_writes_that_no_device_could_take(wrong: tuple[int, int, list[int]]) -> None:
    with pytest.raises(ValueError):
        write_request(*wrong)


def test_answers_are_decoded() -> None:
    registers = read_request(3, 0, 2)
    assert registers.decode(judge_pdu(registers, bytes.fromhex("03 04 0001 fffe"))) == (1, 0xFFFE)
    bits = read_request(1, 0, 10)
    assert bits.decode(judge_pdu(bits, bytes.fromhex("01 02 05 02"))) == (1, 0, 1, 0, 0, 0, 0, 0, 0, 1)
    write = write_request(16, 1, [7, 8])
    assert write.decode(judge_pdu(write, bytes.fromhex("10 0001 0002"))) == ()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("04 04 0001 0002", "function 4, asked 3"),
        ("03 03 0001 00", "byte count 3, expected 4"),
        ("03 04 0001 00", "answer of 5 bytes, expected 6"),
        ("03 04 0001 0002 00", "answer of 7 bytes, expected 6"),
        ("83 02 00", "answer of 3 bytes"),
        ("84 02", "function 132, asked 3"),
        ("83", "answer of 1 bytes"),
    ],
)
def test_what_is_wrong_is_named(answer: str, complaint: str) -> None:
    with pytest.raises(MalformedReply, match=complaint):
        judge_pdu(read_request(3, 0, 2), bytes.fromhex(answer))


def test_a_refusal_is_its_code() -> None:
    with pytest.raises(ExceptionReply) as refused:
        judge_pdu(read_request(3, 0, 2), bytes.fromhex("83 02"))
    assert refused.value.code == 2


@pytest.mark.parametrize("answer", ["06 0003 1235", "06 0004 1234", "06 0003 12"])
def test_a_write_is_confirmed_as_it_was_ordered(answer: str) -> None:
    with pytest.raises(MalformedReply):
        judge_pdu(write_request(6, 3, [0x1234]), bytes.fromhex(answer))


@given(st.integers(1, 4), st.integers(0, 60_000), st.integers(1, 125), st.binary(min_size=1, max_size=260))
def test_any_bytes_are_judged(function: int, address: int, count: int, answer: bytes) -> None:
    request = read_request(function, address, count)
    try:
        accepted = judge_pdu(request, answer)
    except (ExceptionReply, MalformedReply):
        return
    assert accepted[0] == function
    assert len(accepted) == request.size == 2 + accepted[1]
    assert len(request.decode(accepted)) == count
