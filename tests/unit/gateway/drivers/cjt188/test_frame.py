"""Frames of CJ/T 188: known ones both ways, spoiled ones never, and arbitrary bytes do no harm."""

import contextlib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.cjt188.frame import (
    EVERY_ADDRESS,
    Asked,
    Frame,
    Function,
    build,
    identifier,
    judge_answer,
    parse,
    time_bytes,
    time_in,
)
from gateway.errors import ExceptionReply, MalformedReply
from tests.unit.gateway.drivers.vectors import Vector, load

VECTORS = load(Path(__file__).parent)
ADDRESSES = st.from_regex(r"[0-9]{14}", fullmatch=True)
KINDS = st.integers(0x10, 0x49)
FRAMES = st.builds(Frame, KINDS, ADDRESSES, st.integers(0, 255), st.binary(max_size=100))
ASKED = Asked(0x10, "78330011223344", Function.READ, "901F", "low-first", 0)
ANSWER = next(vector.frame for vector in VECTORS if "556677.00" in vector.meaning)


def judged(received: bytes, asked: Asked = ASKED) -> bytes | None:
    return judge_answer(received, asked, lambda frame: frame.data[3:])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one.meaning)
def test_a_known_frame_is_read_and_built_to_the_same_bytes(vector: Vector) -> None:
    frame = parse(vector.frame)
    assert build(frame, vector.preamble) == vector.frame


@pytest.mark.parametrize(
    ("meaning", "asked", "tail"),
    [
        ("read request, cold water meter", ASKED, b""),
        ("read request, meter 11223344556677", Asked(0x10, "11223344556677", 1, "901F", "high-first", 1), b""),
        ("heat meter read request", Asked(0x20, "00000040314132", 1, "901F", "high-first", 1), b""),
        ("read address, broadcast", Asked(0x10, EVERY_ADDRESS, 3, "810A", "high-first", 1), b""),
        ("valve: free open", Asked(0x10, "00000019121301", 4, "A017", "high-first", 1), b"\x66"),
        ("valve: free close", Asked(0x10, "00000019121301", 4, "A017", "high-first", 1), b"\x77"),
        ("valve: open, serial 01", Asked(0x10, "78331505900569", 4, "A017", "high-first", 1), b"\x55"),
    ],
)
def test_requests_are_built_as_known(meaning: str, asked: Asked, tail: bytes) -> None:
    bare = asked.request
    frame = Frame(bare.kind, bare.address, bare.control, bare.data + tail)
    assert [build(frame, b"")] == [vector.bare for vector in VECTORS if vector.meaning.startswith(meaning)]


def test_the_known_answer_answers_the_known_question() -> None:
    assert judged(ANSWER) == bytes.fromhex("007766552C007766552C310122110515202184")


@given(FRAMES, st.integers(0, 6))
def test_what_is_built_is_read(frame: Frame, preamble: int) -> None:
    assert parse(build(frame, b"\xfe" * preamble)) == frame


@given(FRAMES, st.data())
def test_any_flipped_bit_is_refused(frame: Frame, data: st.DataObject) -> None:
    asked = Asked(frame.kind, frame.address, Function.READ, "901F", "high-first", 7)
    good = build(Frame(frame.kind, frame.address, 0x81, b"\x90\x1f\x07" + frame.data[:90]), b"")
    assert judged(good, asked) == frame.data[:90]
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedReply):
        parse(bytes(bad))
    with contextlib.suppress(MalformedReply):
        assert judged(bytes(bad), asked) is None


@given(
    st.binary(max_size=300) | st.lists(st.sampled_from([b"\x68\x10", b"\x16", b"\xfe", b"\x81", b"\0"])).map(b"".join)
)
def test_arbitrary_bytes_raise_nothing_but_malformed(received: bytes) -> None:
    for attempt in (parse, judged):
        with contextlib.suppress(MalformedReply):
            attempt(received)


@pytest.mark.parametrize(
    "other",
    [
        Frame(0x10, "78330011223345", 0x81, b"\x1f\x90\0" + bytes(19)),
        Frame(0x11, "78330011223344", 0x81, b"\x1f\x90\0" + bytes(19)),
        Frame(0x10, "78330011223344", 0x84, b"\x1f\x90\0" + bytes(19)),
        Frame(0x10, "78330011223344", 0x81, b"\x90\x1f\0" + bytes(19)),
        Frame(0x10, "78330011223344", 0x81, b"\x1f\x90\1" + bytes(19)),
        Frame(0x10, "78330011223344", 0x81, b"\x1f\x90"),
        Frame(0x10, "78330011223344", 0xC1, b"\1\2\0"),
        Frame(0x10, "78330011223344", 0x01, b"\x1f\x90\0"),
    ],
)
def test_an_answer_to_something_else_is_passed_over(other: Frame) -> None:
    assert judged(build(other)) is None
    assert judged(build(other) + ANSWER) is not None


def test_a_meter_may_have_its_own_serial_numbers() -> None:
    loose = Asked(0x10, "78330011223344", Function.READ, "901F", "low-first", 9, repeats_serial=False)
    assert judged(ANSWER, loose) is not None
    assert judged(ANSWER, Asked(0x10, "78330011223344", Function.READ, "901F", "low-first", 9)) is None


def test_a_refusal_has_the_serial_number_and_the_status() -> None:
    with pytest.raises(ExceptionReply, match="refused with status 02 00"):
        judged(build(Frame(0x10, "78330011223344", 0xC1, b"\0\2\0")))
    with pytest.raises(MalformedReply, match="refusal of 1 bytes"):
        judged(build(Frame(0x10, "78330011223344", 0xC1, b"\0")))


def test_identifiers_go_in_either_order() -> None:
    assert identifier("901F", "high-first") == b"\x90\x1f"
    assert identifier("901F", "low-first") == b"\x1f\x90"


@given(st.datetimes(datetime.fromisoformat("2000-01-01 00:00:00"), datetime.fromisoformat("2099-12-31 00:00:00")))
def test_times_go_there_and_back(moment: datetime) -> None:
    assert time_in(time_bytes(moment)) == moment.replace(microsecond=0)


@given(st.binary(min_size=7, max_size=7))
def test_no_time_is_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedReply):
        assert time_bytes(time_in(data)) == data


@pytest.mark.parametrize("frame", [Frame(0x10, "1234", 1), Frame(0x10, "78330011223344", 1, bytes(101))])
def test_what_no_frame_can_carry_is_not_built(frame: Frame) -> None:
    with pytest.raises(ValueError):
        build(frame)
