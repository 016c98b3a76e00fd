"""Each framing packs requests as the specification says and lets only the right answer through."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.bus.question import Question
from gateway.drivers.modbus.framing import Ascii, Framing, Manners, Mbap, Rtu
from gateway.drivers.modbus.pdu import Request, read_request, write_request
from gateway.errors import DeviceError, ExceptionReply, MalformedReply
from simulators.modbus.station import crc

READ = read_request(3, 0, 2)
ANSWER = bytes.fromhex("03 04 0001 fffe")


def question(framing: Framing, request: Request = READ, unit: int = 7) -> Question[bytes]:
    return framing.prepare(unit, request, Manners())()


def rtu(content: str | bytes) -> bytes:
    """With its CRC."""
    data = bytes.fromhex(content) if isinstance(content, str) else content
    return data + crc(data)


def ascii_frame(content: str) -> bytes:
    data = bytes.fromhex(content)
    return b":" + (data + bytes([-sum(data) & 0xFF])).hex().upper().encode() + b"\r\n"


class TestRtu:
    judge = staticmethod(question(Rtu()).judge)
    good = rtu("07 03 04 0001 fffe")

    def test_request(self) -> None:
        assert question(Rtu()).request == rtu("07 03 0000 0002")

    @pytest.mark.parametrize("noise", [b"", b"\x00", b"\xff\x00\xff"])
    def test_the_answer_piece_by_piece_with_noise_around(self, noise: bytes) -> None:
        whole = noise + self.good
        assert [self.judge(whole[:size]) for size in range(len(whole))] == [None] * len(whole)
        assert self.judge(whole) == ANSWER
        assert self.judge(whole + noise) == ANSWER

    def test_a_refusal(self) -> None:
        with pytest.raises(ExceptionReply, match="2"):
            self.judge(rtu("07 83 02"))

    def test_late_answers_of_other_units_are_passed_over(self) -> None:
        others = rtu("08 03 02 1234") + rtu("09 84 02") + rtu("0a 06 0001 0002")
        for size in range(len(others)):
            assert self.judge(others[:size]) is None
        assert self.judge(others + self.good) == ANSWER

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (rtu("08 03 02 1234")[:-1] + b"\x55", "unit 8, asked 7"),
            (rtu("08 2b 02"), "unit 8, function 43"),
            (rtu("07 04 04 0001 fffe"), "function 4, asked 3"),
            (rtu("07 03 02 0001"), "byte count 2, expected 4"),
            (rtu("07 84 02"), "function 132, asked 3"),
            (good[:-1] + b"\x00", "the CRC is wrong"),
            (good[:4] + b"\x09" + good[5:], "the CRC is wrong"),
            (good + b"\x55", "1 bytes behind the answer"),
            (good + good, f"{len(good)} bytes behind the answer"),
            (bytes(9) + good, "9 bytes of noise"),
        ],
    )
    def test_what_is_wrong_is_named(self, data: bytes, complaint: str) -> None:
        with pytest.raises(MalformedReply, match=complaint):
            self.judge(data)

    def test_no_noise_before_units_that_look_like_it(self) -> None:
        judge = question(Rtu(), unit=0).judge
        assert judge(rtu("00 03 04 0001 fffe")) == ANSWER
        with pytest.raises(MalformedReply):
            judge(b"\xff" + rtu("00 03 04 0001 fffe"))

    def test_answers_that_only_the_addresses_tell_apart_have_one_look(self) -> None:
        looks = {
            question(Rtu(), read_request(function, address, count), unit).look
            for unit in (1, 2)
            for function in (3, 4)
            for address in (0, 100)
            for count in (2, 3)
        }
        assert len(looks) == 8


class TestAscii:
    judge = staticmethod(question(Ascii()).judge)
    good = ascii_frame("07 03 04 0001 fffe")

    def test_request(self) -> None:
        assert question(Ascii()).request == ascii_frame("07 03 0000 0002")

    def test_the_answer_piece_by_piece_with_noise_before(self) -> None:
        whole = b"\x00\x9d:0" + self.good
        assert [self.judge(whole[:size]) for size in range(len(whole))] == [None] * len(whole)
        assert self.judge(whole) == ANSWER
        assert self.judge(self.good.lower()) == ANSWER

    def test_late_answers_of_other_units_are_passed_over(self) -> None:
        assert self.judge(ascii_frame("08 03 02 1234")) is None
        assert self.judge(ascii_frame("08 03 02 1234") + self.good) == ANSWER

    def test_a_refusal(self) -> None:
        with pytest.raises(ExceptionReply, match="3"):
            self.judge(ascii_frame("07 83 03"))

    @pytest.mark.parametrize(
        ("data", "complaint"),
        [
            (good[:5] + b"F" + good[6:], "the LRC is wrong"),
            (good[:5] + b"G" + good[6:], "not hexadecimal"),
            (good[1:], "that are no frame"),
            (b"12345678\r\n", "frame of 4 bytes"),
            (b":07\r\n", "frame of 1 bytes"),
            (ascii_frame("07 03 02 0001"), "byte count 2"),
            (good + good, "bytes behind"),
            (b":" + b"0" * 600, "600 characters"),
        ],
    )
    def test_what_is_wrong_is_named(self, data: bytes, complaint: str) -> None:
        with pytest.raises(MalformedReply, match=complaint):
            self.judge(data)


class TestMbap:
    def test_numbers_go_round_and_answers_to_others_are_refused(self) -> None:
        framing = Mbap()
        ask = framing.prepare(7, READ, Manners())
        first, second = ask(), ask()
        assert first.request == bytes.fromhex("0001 0000 0006 07 03 0000 0002")
        assert second.request == bytes.fromhex("0002 0000 0006 07 03 0000 0002")
        answer = bytes.fromhex("0002 0000 0007 07 03 04 0001 fffe")
        assert [second.judge(answer[:size]) for size in range(len(answer))] == [None] * len(answer)
        assert second.judge(answer) == ANSWER
        with pytest.raises(MalformedReply, match="transaction 2, asked 1"):
            first.judge(answer)
        for _ in range(65_534):
            last = ask()
        assert last.request[:2] == bytes(2)

    def test_answers_from_before_are_passed_over(self) -> None:
        framing = Mbap()
        ask = framing.prepare(7, READ, Manners())
        old, new = ask(), ask()
        late = old.request[:2] + bytes.fromhex("0000 0007 07 03 04 0009 0009")
        good = new.request[:2] + bytes.fromhex("0000 0007 07 03 04 0001 fffe")
        for size in range(len(late) + 1):
            assert new.judge(late[:size]) is None
        assert new.judge(late + late + good) == ANSWER

    @pytest.mark.parametrize(
        ("frame", "complaint"),
        [
            ("0002 0000 0007 07 03 04 0001 fffe", "transaction 2, asked 1"),
            ("0001 0001 0007 07 03 04 0001 fffe", "protocol 1"),
            ("0001 0000 0002 07 03", "length 2"),
            ("0001 0000 0100 07 03", "length 256"),
            ("0001 0000 0007 08 03 04 0001 fffe", "unit 8, asked 7"),
            ("0001 0000 0007 07 04 04 0001 fffe", "function 4, asked 3"),
            ("0001 0000 0003 07 84 02", "function 132, asked 3"),
            ("0001 0000 0005 07 03 02 0001", "byte count 2, expected 4"),
            ("0001 0000 0006 07 03 04 0001 ff", "length 6, expected 7"),
            ("0001 0000 0004 07 83 02 00", "length 4, expected 3"),
            ("0001 0000 0007 07 03 04 0001 fffe ff", "1 bytes behind"),
        ],
    )
    def test_what_is_wrong_is_named(self, frame: str, complaint: str) -> None:
        with pytest.raises(MalformedReply, match=complaint):
            question(Mbap()).judge(bytes.fromhex(frame))

    def test_a_refusal(self) -> None:
        with pytest.raises(ExceptionReply, match="2"):
            question(Mbap()).judge(bytes.fromhex("0001 0000 0003 07 83 02"))


framings = st.sampled_from([Mbap, Rtu, Ascii])


def accepted(judge: Callable[[bytes], bytes | None], data: bytes) -> bytes | None:
    """What is taken out of `data`; None when it is refused or not yet enough."""
    try:
        return judge(data)
    except DeviceError:
        return None


@given(framings, st.binary(max_size=300))
def test_any_bytes_are_judged(kind: type[Framing], data: bytes) -> None:
    answer = accepted(question(kind()).judge, data)
    assert answer is None or (answer[:2] == ANSWER[:2] and len(answer) == len(ANSWER))


@given(st.sampled_from([Rtu, Ascii]), st.integers(0, 2**32))
def test_one_wrong_bit_anywhere_is_never_accepted(kind: type[Framing], seed: int) -> None:
    generator = random.Random(seed)
    content = f"11 04 18 {generator.randbytes(24).hex()}"
    good = rtu(content) if kind is Rtu else ascii_frame(content)
    judge = question(kind(), read_request(4, 100, 12), unit=0x11).judge
    right = judge(good)
    assert right == bytes.fromhex(content)[1:]
    flipped = (int.from_bytes(good, "big") ^ 1 << generator.randrange(8 * len(good))).to_bytes(len(good), "big")
    # One bit of a hexadecimal digit only says whether it is a capital letter.
    same = kind is Ascii and flipped.upper() == good
    assert accepted(judge, flipped) == (right if same else None)


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_up_to_three_wrong_bits_in_rtu_are_found(seed: int, bits: int) -> None:
    generator = random.Random(seed)
    good = rtu(bytes.fromhex("11 04 18") + generator.randbytes(24))
    judge = question(Rtu(), read_request(4, 100, 12), unit=0x11).judge
    flipped = int.from_bytes(good, "big")
    for bit in generator.sample(range(8 * len(good)), bits):
        flipped ^= 1 << bit
    assert accepted(judge, flipped.to_bytes(len(good), "big")) is None


def test_the_start_of_one_answer_and_the_end_of_another_are_none() -> None:
    generator = random.Random(1)  # a fixed one: of random mixtures, one in 65,536 has the right CRC
    judge = question(Rtu(), read_request(4, 100, 12), unit=0x11).judge
    for _ in range(1_000):
        one, other = (rtu(bytes.fromhex("11 04 18") + generator.randbytes(24)) for _ in range(2))
        at = generator.randrange(4, len(one) - 2)
        assert accepted(judge, one[:at] + other[at:]) is None


@pytest.mark.parametrize(
    ("kind", "frame", "unit", "request_"),
    [
        (
            Rtu,
            "05 04 0000 0050 f1b2",
            5,
            read_request(4, 0, 80),
        ),  # https://github.com/nmakel/solaredge_meterproxy/issues/16
        (
            Rtu,
            "01 03 0080 0001 85e2",
            1,
            read_request(3, 128, 1),
        ),  # https://github.com/home-assistant/core/issues/115039
        (Rtu, "01 03 0000 000a c5cd", 1, read_request(3, 0, 10)),  # TUF-2000F manual p. 21
        (Rtu, "01 03 0010 0002 c5ce", 1, read_request(3, 16, 2)),  # ULTRA-E-F manual p. 34
        (Ascii, "3a 30313033303030303030304146 32 0d0a", 1, read_request(3, 0, 10)),  # TUF-2000F manual p. 21
    ],
)
def test_requests_of_real_meters(kind: type[Framing], frame: str, unit: int, request_: Request) -> None:
    assert question(kind(), request_, unit).request == bytes.fromhex(frame)


@pytest.mark.parametrize(
    ("frame", "registers"),
    [
        ("01 04 04 4366 3334 1b38", (0x4366, 0x3334)),  # Eastron SDM, 230.2 V; in Tasmota's xnrg sources
        ("01 04 08 0000 01b3 0000 0000 2006", (0, 435, 0, 0)),  # https://github.com/arendst/Tasmota/issues/8677
        ("01 03 02 0400 ba84", (1024,)),  # https://github.com/home-assistant/core/issues/115039
    ],
)
def test_answers_of_real_meters(frame: str, registers: tuple[int, ...]) -> None:
    data = bytes.fromhex(frame)
    request = read_request(data[1], 0, len(registers))
    answer = question(Rtu(), request, data[0]).judge(data)
    assert answer is not None
    assert request.decode(answer) == registers


def test_a_write_is_confirmed_by_every_framing() -> None:
    write = write_request(6, 5, [9])
    for framing in (Rtu(), Ascii(), Mbap()):
        asked = question(framing, write)
        assert asked.judge(asked.request) == write.pdu  # the answer is the request once more
