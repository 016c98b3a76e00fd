"""Every decoder and parser that a stranger's bytes can reach, and the one error that it may raise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec
from pymodbus.framer import FramerAscii, FramerRTU

from cloud.kit.errors import InvalidInput
from cloud.metering.imports.table import read_table
from cloud.parking.spaces.table import read_spaces
from cloud.payments.channels.base import ProviderUnavailable
from cloud.payments.channels.statement_files import alipay_moves, wechat_moves
from gateway.contract import codec
from gateway.contract.errors import ContractError
from gateway.drivers.barrier.dialect import decode_event, decode_order, decode_reply
from gateway.drivers.barrier.events import MalformedMessage
from gateway.drivers.barrier.settings import VzenithSettings
from gateway.drivers.barrier.vzenith import VzenithDialect
from gateway.drivers.cjt188 import frame as cjt188
from gateway.drivers.coap import senml
from gateway.drivers.coap.errors import BadPayload
from gateway.drivers.dlt645 import frame as dlt645
from gateway.drivers.modbus.framing import Ascii, Framing, Manners, Mbap, Rtu
from gateway.drivers.modbus.pdu import read_request
from gateway.errors import ConfigError, ExceptionReply, MalformedReply
from gateway.settings import load_site
from gateway.templates.library import firmware_config, load_meter_file
from simulators.payments.alipay import Trade as AlipayTrade
from simulators.payments.statements import alipay_statement, wechat_statement
from simulators.payments.wechat import Trade as WechatTrade
from tests.unit.gateway.drivers.coap.vectors import CBOR_PACK, NOW_MS, PACKS
from tests.unit.gateway.drivers.vectors import load

_VECTORS: Final = Path(__file__).parents[1] / "unit" / "gateway" / "contract" / "vectors"
_DRIVERS: Final = Path(__file__).parents[1] / "unit" / "gateway" / "drivers"
_ANSWER: Final = bytes.fromhex("010304000a0102")


@dataclass(frozen=True, slots=True)
class Target:
    """One function of bytes. Anything but a return or one of `refuses` is a finding."""

    name: str
    run: Callable[[bytes], object]
    refuses: tuple[type[Exception], ...]
    seeds: Callable[[], Iterator[bytes]]

    def __call__(self, data: bytes) -> None:
        """Feeds `data`. Raises what must not be raised."""
        try:
            self.run(data)
        except self.refuses:
            return


_BODIES: Final[tuple[Callable[[msgspec.Raw], object], ...]] = (
    codec.decode_points,
    codec.decode_passages,
    codec.decode_results,
    codec.decode_health,
    codec.decode_gaps,
    codec.decode_configurations,
)


def _uplink(data: bytes) -> None:
    """An uplink message as ingest takes it: frame, then body under each kind that its topic could name."""
    envelope = codec.decode_envelope(data)
    for decode in _BODIES:
        try:
            decode(envelope.body)
        except ContractError:
            continue


def _vectors(*names: str) -> Callable[[], Iterator[bytes]]:
    def read() -> Iterator[bytes]:
        for path in sorted(_VECTORS.glob("*.json")):
            content = msgspec.json.decode(path.read_bytes())
            if isinstance(content, dict) and (not names or path.name.startswith(names)):
                yield bytes.fromhex(content["payload"])

    return read


def _texts(*texts: str) -> Callable[[], Iterator[bytes]]:
    return lambda: iter(text.encode() for text in texts)


def _packs() -> Iterator[bytes]:
    return iter(PACKS)


def _cbor_packs() -> Iterator[bytes]:
    yield CBOR_PACK


def _modbus(name: str, framing: Framing, answer: bytes) -> Target:
    """Whatever comes as the answer to a read of two registers of unit 1."""
    question = framing.prepare(1, read_request(3, 0, 2), Manners())()
    return Target(name, question.judge, (MalformedReply, ExceptionReply), lambda: iter((answer,)))


_MORNING: Final = datetime(2026, 11, 25, 2, tzinfo=UTC)
_NUMBER: Final = f"gm{'0' * 28}"


def _statement_of_wechat() -> Iterator[bytes]:
    trade = WechatTrade(_NUMBER, 1234, "CNY", "水费", _MORNING, "", "REFUND", "4200", _MORNING)
    trade.refunds["R1"], trade.refunded_at["R1"] = 500, _MORNING
    yield wechat_statement([trade], _MORNING.date(), "wx1", "1900000109") or b""


def _statement_of_alipay() -> Iterator[bytes]:
    trade = AlipayTrade(_NUMBER, Decimal("12.34"), "水费", _MORNING, "", True, "TRADE_SUCCESS", "2026", _MORNING)
    trade.refunds["R1"], trade.refunded_at["R1"] = Decimal(5), _MORNING
    yield alipay_statement([trade], _MORNING.date()) or b""


def _frames(room: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (vector.frame for vector in load(_DRIVERS / room))


def _files(*patterns: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (path.read_bytes() for pattern in patterns for path in sorted(firmware_config().glob(pattern)))


def _as_file(load: Callable[[Path], object]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "file.yaml"
            path.write_bytes(data)
            load(path)

    return run


_CAMERA: Final = VzenithDialect("device", "1", VzenithSettings())

TARGETS: Final = {
    target.name: target
    for target in (
        Target(
            "uplink",
            _uplink,
            (ContractError,),
            _vectors("readings", "passage", "results", "health", "gaps", "configurations"),
        ),
        Target("ack", codec.decode_ack, (ContractError,), _vectors("ack")),
        Target("command", codec.decode_command, (ContractError,), _vectors("command")),
        Target(
            "barrier-event",
            decode_event,
            (MalformedMessage,),
            _texts('{"type":"recognised","id":"1","plate":"京A12345","taken_at":1700000000000,"score":900}'),
        ),
        Target("access", codec.decode_access, (ContractError,), _vectors("access")),
        Target("time", codec.decode_time, (ContractError,), _vectors("time")),
        Target(
            "vzenith",
            lambda data: VzenithDialect("device", "1", VzenithSettings()).decode(
                "device/1/message/up/ivs_result", data
            ),
            (MalformedMessage,),
            _texts(
                '{"id":"1","sn":"1","timestamp":1700000000,"payload":{"body":{"AlarmInfoPlate":{"result":{"PlateResult":'
                '{"license":"5LqsQTEyMzQ1","confidence":97,"start_time":1700000000,"imageFile":"/9j/"}}}}}}'
            ),
        ),
        Target("barrier-reply", decode_reply, (MalformedMessage,), _texts('{"id":"1","code":0,"detail":""}')),
        Target(
            "barrier-order",
            decode_order,
            (MalformedMessage,),
            _texts('{"type":"open","id":"1","expires_at":1700000000000}'),
        ),
        Target("senml-json", lambda data: senml.decode(data, senml.JSON, NOW_MS), (BadPayload,), _packs),
        Target("senml-cbor", lambda data: senml.decode(data, senml.CBOR, NOW_MS), (BadPayload,), _cbor_packs),
        _modbus("modbus-mbap", Mbap(), b"\0\1\0\0\0\7" + _ANSWER),
        _modbus("modbus-rtu", Rtu(), _ANSWER + FramerRTU.compute_CRC(_ANSWER).to_bytes(2, "big")),
        _modbus("modbus-ascii", Ascii(), f":{_ANSWER.hex()}{FramerAscii.compute_LRC(_ANSWER):02X}\r\n".encode()),
        Target("dlt645", dlt645.parse, (MalformedReply,), _frames("dlt645")),
        Target("cjt188", cjt188.parse, (MalformedReply,), _frames("cjt188")),
        Target(
            "import-table",
            lambda data: list(read_table(data).rows),
            (InvalidInput,),
            _texts("meter,time,value\nE1,2026-01-31 8:00,1.5\n"),
        ),
        Target(
            "spaces-table",
            lambda data: list(read_spaces(data)),
            (InvalidInput,),
            _texts("number,place,class,state\nB1-001,B1,small,sold\n"),
        ),
        Target("wechat-statement", wechat_moves, (ProviderUnavailable,), _statement_of_wechat),
        Target("alipay-statement", alipay_moves, (ProviderUnavailable,), _statement_of_alipay),
        Target("configuration", codec.decode_configuration, (ContractError,), _vectors("configuration-")),
        Target("template-file", _as_file(load_meter_file), (ConfigError,), _files("meters/*.yaml")),
        Target("site-file", _as_file(load_site), (ConfigError,), _files("sites/*.yaml")),
    )
}
