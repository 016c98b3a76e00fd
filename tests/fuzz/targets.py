"""Every decoder and parser that a stranger's bytes can reach, and the one error that it may raise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from gateway.contract import codec
from gateway.contract.errors import ContractError
from gateway.drivers.barrier.dialect import MalformedMessage, decode_event, decode_order, decode_reply
from gateway.drivers.coap import senml
from gateway.drivers.coap.errors import BadPayload
from gateway.errors import ConfigError
from gateway.settings import load_site
from gateway.templates.library import firmware_config, load_meter_file
from tests.unit.gateway.drivers.coap.vectors import CBOR_PACK, NOW_MS, PACKS

_VECTORS: Final = Path(__file__).parents[1] / "unit" / "gateway" / "contract" / "vectors"


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


def _uplink(data: bytes) -> None:
    """An uplink message as ingest takes it: frame, then body under each kind that its topic could name."""
    envelope = codec.decode_envelope(data)
    for decode in (codec.decode_points, codec.decode_passages, codec.decode_results, codec.decode_health):
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


def _files(*patterns: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (path.read_bytes() for pattern in patterns for path in sorted(firmware_config().glob(pattern)))


def _as_file(load: Callable[[Path], object]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "file.yaml"
            path.write_bytes(data)
            load(path)

    return run


TARGETS: Final = {
    target.name: target
    for target in (
        Target("uplink", _uplink, (ContractError,), _vectors("readings", "passages", "passage", "results", "health")),
        Target("ack", codec.decode_ack, (ContractError,), _vectors("ack")),
        Target("command", codec.decode_command, (ContractError,), _vectors("command")),
        Target(
            "barrier-event",
            decode_event,
            (MalformedMessage,),
            _texts('{"type":"recognised","id":"1","plate":"京A12345","taken_at":1700000000000,"score":900}'),
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
        Target("template-file", _as_file(load_meter_file), (ConfigError,), _files("meters/*.yaml")),
        Target("site-file", _as_file(load_site), (ConfigError,), _files("sites/*.yaml")),
    )
}
