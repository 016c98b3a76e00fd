"""The wire as it is written down: other implementations and older versions must agree with these bytes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract import codec
from gateway.contract.errors import ContractError
from gateway.contract.topics import Down, Up
from tests.unit.gateway.contract.naming import named

_FOLDER = Path(__file__).parent / "vectors"
_BODY: dict[str, Callable[[Any], object]] = {
    "readings": codec.decode_points,
    "passages": codec.decode_passages,
    "results": codec.decode_results,
    "health": lambda body: (codec.decode_health(body),),
    "gaps": codec.decode_gaps,
    "configurations": codec.decode_configurations,
}
_DECODERS: dict[str, Callable[[bytes], object]] = {
    **_BODY,
    "envelope": codec.decode_envelope,
    "ack": codec.decode_ack,
    "command": codec.decode_command,
    "configuration": codec.decode_configuration,
    "access": codec.decode_access,
    "time": codec.decode_time,
}
_KINDS: dict[str, Down] = {
    "command": Down.COMMAND,
    "configuration": Down.CONFIG,
    "access": Down.ACCESS,
    "time": Down.TIME,
}


def load(name: str) -> Any:
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))


_NAMES = sorted(path.name for path in _FOLDER.glob("*.json") if path.name != "refusals.json")
_UP = [name for name in _NAMES if load(name)["kind"] in _BODY]
_DOWN = [name for name in _NAMES if load(name)["kind"] not in _BODY]
_REFUSALS = load("refusals.json")


@pytest.mark.parametrize("name", _UP)
def test_uplink_payloads_decode_to_what_is_written_down(name: str) -> None:
    vector = load(name)
    payload = bytes.fromhex(vector["payload"])
    assert payload[:1] == (b"[" if vector["encoding"].startswith("plain") else b"\x78")
    envelope = codec.decode_envelope(payload)
    assert {key: getattr(envelope, key) for key in vector["envelope"]} == vector["envelope"]
    assert named(_BODY[vector["kind"]](envelope.body)) == vector["body"]
    codec.check_body(Up(vector["kind"]), bytes(envelope.body))


@pytest.mark.parametrize("name", _DOWN)
def test_downlink_payloads_decode_to_what_is_written_down(name: str) -> None:
    vector = load(name)
    assert named(_DECODERS[vector["kind"]](bytes.fromhex(vector["payload"]))) == vector["message"]


@pytest.mark.parametrize("name", [name for name in _UP if load(name)["encoding"] == "plain"])
def test_plain_uplink_payloads_encode_to_the_same_bytes(name: str) -> None:
    vector = load(name)
    payload = bytes.fromhex(vector["payload"])
    envelope = codec.decode_envelope(payload)
    items: Any = _BODY[vector["kind"]](envelope.body)
    body = codec.encode_body(items)
    assert codec.encode_envelope(envelope.epoch, envelope.seq, envelope.created_at, body) == payload


@pytest.mark.parametrize("name", [name for name in _DOWN if "signed_bytes" in load(name)])
def test_a_signature_covers_the_bytes_that_are_written_down(name: str) -> None:
    vector = load(name)
    payload = bytes.fromhex(vector["payload"])
    message: Any = _DECODERS[vector["kind"]](payload)
    covered = codec.open_signed(_KINDS[vector["kind"]], payload).covered
    assert covered.hex() == vector["signed_bytes"]
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(vector["public_key"]))
    key.verify(base64.b64decode(message.signature), covered)


def test_a_health_report_of_an_older_gateway_tells_nothing_of_what_devices_can_do() -> None:
    older = msgspec.json.encode([[1764000000000, "0", 1, 0, 0, 0, 0, [["m", 0, 1, 0, 0, 0, 0]]]])
    assert codec.decode_health(older).devices[0].actions == ()


@pytest.mark.parametrize("refusal", _REFUSALS, ids=[refusal["what"] for refusal in _REFUSALS])
def test_what_breaks_the_contract_is_refused_with_the_reason_written_down(refusal: dict[str, str]) -> None:
    with pytest.raises(ContractError) as caught:
        _DECODERS[refusal["decode"]](bytes.fromhex(refusal["payload"]))
    assert caught.value.reason == refusal["reason"]
    assert caught.value.detail
