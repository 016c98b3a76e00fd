"""The simulated meter against frames from the field, not against our own codec."""

from zoneinfo import ZoneInfo

from simulators.dlt645.meter import SimulatedDlt645
from simulators.modbus.dwelling import Dwelling
from tests.templates import dlt645

ASK = bytes.fromhex("FEFEFEFE 68 12 90 78 56 34 12 68 11 04 33 33 34 33".replace(" ", ""))
ZONE = ZoneInfo("Asia/Shanghai")


def closed(body: bytes) -> bytes:
    frame = body.lstrip(b"\xfe")
    return body + bytes([sum(frame) & 0xFF, 0x16])


def meter(template_id: str = "generic-dlt645-2007-relay", address: str = "123456789012") -> SimulatedDlt645:
    one = SimulatedDlt645(
        "m", address, dlt645(template_id), Dwelling(1, "m", "electricity", ZONE), lambda: 1_800_000_000_000
    )
    one.preamble = b""
    return one


def test_answers_as_meters_in_the_field_do() -> None:
    one = meter("generic-dlt645-1997", "138000130754")
    one.overrides = {"energy_import_total": 1}
    request = bytes.fromhex("68 54 07 13 00 80 13 68 01 02 43 C3 DA 16")
    assert one.answer(request) == bytes.fromhex("68 54 07 13 00 80 13 68 81 06 43 C3 34 33 33 33 2B 16")


def test_refuses_as_meters_in_the_field_do() -> None:
    assert meter().answer(closed(ASK)) == bytes.fromhex("68 12 90 78 56 34 12 68 D1 01 35 8D 16")


def test_tells_its_address() -> None:
    request = closed(bytes.fromhex("68 AA AA AA AA AA AA 68 13 00"))
    assert meter().answer(request) == bytes.fromhex("68 12 90 78 56 34 12 68 93 06 45 C3 AB 89 67 45 07 16")


def test_is_silent_to_what_is_not_for_it() -> None:
    wrong = bytearray(closed(ASK))
    wrong[-2] ^= 1
    assert meter().answer(bytes(wrong)) is None
    assert meter(address="123456789013").answer(closed(ASK)) is None


def test_obeys_a_broadcast_without_an_answer() -> None:
    one = meter()
    data = bytes((byte + 0x33) & 0xFF for byte in bytes.fromhex("05 05 16 15 01 27"))  # 2027-01-15 16:05:05
    request = closed(b"\x68" + b"\x99" * 6 + b"\x68\x08\x06" + data)
    before = one.local_now()
    assert one.answer(request) is None
    assert len(one.broadcasts) == 1
    assert one.local_now() == before  # eight minutes off: more than a meter corrects
