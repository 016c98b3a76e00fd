"""The simulated meter against frames from the field, not against our own codec."""

from zoneinfo import ZoneInfo

from simulators.cjt188.meter import SimulatedCjt188
from simulators.modbus.dwelling import Dwelling
from tests.templates import cjt188

READ = bytes.fromhex("FE FE FE FE 68 10 44 33 22 11 00 33 78 01 03 1F 90 00 80 16")
ZONE = ZoneInfo("Asia/Shanghai")


def meter(template_id: str, address: str) -> SimulatedCjt188:
    one = SimulatedCjt188("m", address, cjt188(template_id), Dwelling(1, "m", "water", ZONE), lambda: 1_800_000_000_000)
    one.preamble = b""
    return one


def test_answers_as_meters_in_the_field_do() -> None:
    one = meter("generic-cjt188-cold-water-low-first", "78330011223344")
    one.overrides = {"volume_total": 55_667_700, "alarm_flags": 0}
    answer = one.answer(READ)
    assert answer is not None
    assert answer[:19] == bytes.fromhex("68 10 44 33 22 11 00 33 78 81 16 1F 90 00 00 77 66 55 2C")
    assert answer[24:31] == bytes.fromhex("00 00 16 15 01 27 20")


def test_tells_its_address() -> None:
    request = bytes.fromhex("68 10 AA AA AA AA AA AA AA 03 03 81 0A 00 AF 16")
    one = meter("generic-cjt188-cold-water", "00000805000001")
    assert one.answer(request) == bytes.fromhex("68 10 01 00 00 05 08 00 00 83 03 81 0A 00 97 16")


def test_obeys_an_order_to_its_valve() -> None:
    one = meter("generic-cjt188-cold-water-valve", "78331505900569")
    one.valve_open = False
    answer = one.answer(bytes.fromhex("68 10 69 05 90 05 15 33 78 04 04 A0 17 01 55 50 16"))
    assert answer is not None
    assert answer[9:16] == bytes.fromhex("84 05 A0 17 01 00 00")
    assert one.orders == [b"\x55"]


def test_is_silent_to_what_is_not_for_it() -> None:
    assert meter("generic-cjt188-cold-water-low-first", "78330011223345").answer(READ) is None
    assert meter("generic-cjt188-heat", "78330011223344").answer(READ) is None
    assert meter("generic-cjt188-cold-water-low-first", "78330011223344").answer(READ[:-1]) is None
