"""Against a DL/T 645 meter that others wrote (package dlt645): each understands what the other says."""

from datetime import datetime

import pytest
from dlt645 import DLT645Protocol, MeterServerService
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.base import Reading
from gateway.drivers.dlt645.frame import EVERY_ADDRESS, Frame, Function, Password, build, parse, write_data
from gateway.drivers.dlt645.meter import build_meter, compile_meter
from gateway.drivers.dlt645.station import Station
from gateway.errors import ExceptionReply
from gateway.templates.dlt645 import Dlt645Template
from tests.templates import dlt645
from tests.unit.gateway.drivers.direct import DirectBus

ADDRESS = "201709320072"
NOW = datetime.fromisoformat("2026-11-25 20:00:00")


class Peer:
    """The other meter, without its sockets."""

    def __init__(self) -> None:
        self.service = MeterServerService(None)  # it needs a server only to listen
        self.service.set_address(bytes.fromhex(ADDRESS)[::-1])
        self.service.set_password("02563412")

    def answer(self, request: bytes) -> bytes | None:
        """What it sends."""
        sent = self.service.handle_request(DLT645Protocol.deserialize(request))
        return None if sent is None else bytes(sent)


def singles() -> Dlt645Template:
    """The single-phase template, with every value as an item of its own: blocks the peer does not have."""
    document = dlt645("generic-dlt645-2007-single-phase").model_dump(exclude_none=True)
    for item in document["registers"]:
        item["id"] = item["id"].replace("FF", f"{item['position']:02}")
        item["position"] = 0
    return Dlt645Template.model_validate(document)


@given(
    st.from_regex(r"[0-9]{12}", fullmatch=True), st.integers(0, 255), st.binary(max_size=200), st.integers(0, 4)
)  # fmt: skip
def test_both_build_and_read_the_same_frames(address: str, control: int, data: bytes, preamble: int) -> None:
    sent = bytes.fromhex(address)[::-1]
    ours = build(Frame(address, control, data), b"\xfe" * preamble)
    assert bytes(DLT645Protocol.build_frame(sent, control, data, preamble)) == ours
    theirs = DLT645Protocol.deserialize(ours)
    assert theirs is not None
    assert (bytes(theirs.addr), theirs.ctrl_code, bytes(theirs.data)) == (sent, control, data)
    assert parse(ours) == Frame(address, control, data)


async def test_values_are_those_that_it_shows() -> None:
    peer = Peer()
    shown = {0x00010000: 1234.56, 0x00010100: 1.5, 0x00010200: 20.02, 0x00010300: 300.0, 0x00010400: 913.04}
    for item, value in shown.items():
        peer.service.set_00(item, value)
    peer.service.set_00(0x00020000, 0.26)
    peer.service.set_02(0x02010100, 231.9)
    peer.service.set_02(0x02020100, -4.999)
    peer.service.set_02(0x02030000, 0.4331)
    peer.service.set_02(0x02060000, 0.501)
    meter = build_meter("m", ADDRESS, DirectBus(peer.answer), compile_meter(singles()))
    outcome = await meter.read(meter.groups, lambda: 1)
    assert [reading for _, readings in outcome.answers for reading in readings] == [
        Reading("energy_import_total", 1_234_560, 0),
        Reading("energy_import_sharp", 1_500, 0),
        Reading("energy_import_peak", 20_020, 0),
        Reading("energy_import_flat", 300_000, 0),
        Reading("energy_import_valley", 913_040, 0),
        Reading("energy_export_total", 260, 0),
        Reading("voltage_l1", 231_900, 0),
        Reading("current_l1", -4_999, 0),
        Reading("power_active_total", 433, 0),
        Reading("power_factor_total", 501, 0),
    ]


async def test_it_refuses_and_tells_its_address() -> None:
    peer = Peer()
    with pytest.raises(ExceptionReply, match="refused: no such data"):
        await Station(ADDRESS, DirectBus(peer.answer)).item("00FE0000")
    assert await Station(EVERY_ADDRESS, DirectBus(peer.answer)).address() == ADDRESS


async def test_it_takes_the_password_as_we_send_it() -> None:
    peer = Peer()
    station = Station(ADDRESS, DirectBus(peer.answer))
    new = bytes.fromhex("02251126")
    await station.order(Function.WRITE, write_data("04000101", Password(2, "123456"), new))
    assert await station.item("04000101") == new
    with pytest.raises(ExceptionReply, match="wrong password or not authorised"):
        await station.order(Function.WRITE, write_data("04000101", Password(2, "123457"), new))
