"""Frames of DL/T 645: known ones both ways, spoiled ones never, and arbitrary bytes do no harm."""

import contextlib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.dlt645.frame import (
    BROADCAST,
    EDITION_1997,
    EDITION_2007,
    EVERY_ADDRESS,
    Frame,
    Function,
    Order,
    Password,
    broadcast_time,
    build,
    control_data,
    date_bytes,
    freeze,
    identifier,
    judge_answer,
    parse,
    write_data,
)
from gateway.drivers.sum_frame import matches
from gateway.errors import ExceptionReply, MalformedReply
from tests.unit.gateway.drivers.vectors import Vector, load

VECTORS = load(Path(__file__).parent)
ADDRESSES = st.from_regex(r"[0-9]{12}", fullmatch=True)
FRAMES = st.builds(Frame, ADDRESSES, st.integers(0, 255), st.binary(max_size=200))
NOON = datetime.fromisoformat("2026-11-25 12:00:30")


def judged(received: bytes, address: str = "123456789012", function: int = Function.READ) -> Frame | None:
    return judge_answer(received, address, function, EDITION_2007.refusals, lambda frame: frame)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one.meaning)
def test_a_known_frame_is_read_and_built_to_the_same_bytes(vector: Vector) -> None:
    frame = parse(vector.frame)
    assert build(frame, vector.preamble) == vector.frame


@pytest.mark.parametrize(
    ("meaning", "frame"),
    [
        ("request: reverse active energy total", Frame("000000000161", 0x11, identifier("00020000"))),
        (
            "forward active energy total = 1234.56",
            Frame("123456789012", 0x91, identifier("00010000") + b"\x56\x34\x12\0"),
        ),
        ("read-address answer", Frame("123456789012", 0x93, bytes.fromhex("129078563412"))),
        ("error answer, error byte 04", Frame("910004920760", 0xD1, b"\x04")),
        ("request: forward active energy, DI 9010", Frame("138000130754", 0x01, identifier("9010"))),
    ],
)
def test_known_frames_say_what_they_are_known_for(meaning: str, frame: Frame) -> None:
    found = [parse(vector.frame) for vector in VECTORS if vector.meaning.startswith(meaning)]
    assert found == [frame]


@given(FRAMES, st.integers(0, 6))
def test_what_is_built_is_read(frame: Frame, preamble: int) -> None:
    assert parse(build(frame, b"\xfe" * preamble)) == frame


@given(FRAMES, st.data())
def test_any_flipped_bit_is_refused(frame: Frame, data: st.DataObject) -> None:
    good = build(Frame(frame.address, Function.READ | 0x80, frame.data), b"")
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(MalformedReply):
        parse(bytes(bad))
    with contextlib.suppress(MalformedReply):
        assert judged(bytes(bad), frame.address) is None


@given(st.binary(max_size=300) | st.lists(st.sampled_from([b"\x68", b"\x16", b"\xfe", b"\x91", b"\0"])).map(b"".join))
def test_arbitrary_bytes_raise_nothing_but_malformed(received: bytes) -> None:
    for attempt in (parse, judged):
        with contextlib.suppress(MalformedReply):
            attempt(received)


@given(FRAMES, st.binary(max_size=40).filter(lambda noise: b"\x68" not in noise), st.integers(0, 60))
def test_an_answer_is_found_behind_noise_and_piece_by_piece(frame: Frame, noise: bytes, cut: int) -> None:
    answer = Frame(frame.address, 0x91, frame.data)
    received = noise + build(answer)
    cut = min(cut, len(received) - 1)
    assert judged(received[:cut], frame.address) is None
    assert judged(received, frame.address) == answer


def test_frames_of_others_are_passed_over() -> None:
    ours = Frame("123456789012", 0x91, b"\0\0\1\0\x26")
    other = build(Frame("123456789013", 0x91, b"\0\0\1\0\x99"))
    echo = build(Frame("123456789012", 0x11, b"\0\0\1\0"))
    late_write = build(Frame("123456789012", 0x94))
    assert judged(echo + other + late_write) is None
    assert judged(echo + other + late_write + build(ours)) == ours


def test_a_broken_frame_before_the_answer_does_not_hide_it() -> None:
    ours = Frame("123456789012", 0x91, b"\0\0\1\0\x26")
    broken = bytearray(build(ours))
    broken[-2] ^= 1
    assert judged(bytes(broken) + build(ours)) == ours
    with pytest.raises(MalformedReply, match="sum"):
        judged(bytes(broken))


def test_a_refusal_names_its_reasons() -> None:
    refused = build(Frame("123456789012", 0xD1, b"\x06"))
    with pytest.raises(ExceptionReply, match="no such data, wrong password or not authorised") as caught:
        judged(refused)
    assert caught.value.code == 6
    old = build(Frame("123456789012", 0xC1, b"\x02"))
    with pytest.raises(ExceptionReply, match="wrong data identifier"):
        judge_answer(old, "123456789012", 0x01, EDITION_1997.refusals, lambda frame: frame)
    with pytest.raises(MalformedReply, match="refusal of 5 bytes"):
        judged(build(Frame("123456789012", 0xD1, b"\x06\0\0\0\0")))


def test_babble_ends() -> None:
    with pytest.raises(MalformedReply, match="bytes without an answer"):
        judged(b"\x00" * 3_000)


def test_wildcards_match_any_digit() -> None:
    assert matches(EVERY_ADDRESS, "123456789012")
    assert matches("AAAAAA789012", "123456789012")
    assert not matches("AAAAAA789013", "123456789012")


def test_orders_carry_password_operator_and_end_of_validity() -> None:
    password = Password(2, "123456", "0000002A")
    assert control_data(password, Order.TRIP, NOON).hex(" ") == "02 56 34 12 2a 00 00 00 1a 00 30 00 12 25 11 26"
    assert write_data("04000101", password, date_bytes(NOON)).hex(" ") == (
        "01 01 00 04 02 56 34 12 2a 00 00 00 03 25 11 26"
    )
    assert "123456" not in repr(password) + str(password)


def test_broadcasts_go_to_everybody() -> None:
    assert parse(broadcast_time(NOON)) == Frame(BROADCAST, 0x08, bytes.fromhex("300012251126"))
    assert parse(freeze()) == Frame(BROADCAST, 0x16, b"\x99" * 4)


@pytest.mark.parametrize(
    "frame", [Frame("1234", 0x11), Frame("12345678901234", 0x11), Frame("123456789012", 0x11, bytes(201))]
)
def test_what_no_frame_can_carry_is_not_built(frame: Frame) -> None:
    with pytest.raises(ValueError):
        build(frame)
