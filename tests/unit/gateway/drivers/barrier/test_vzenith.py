"""The VZenith dialect, from its own words to events and back."""

import base64
import json
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.drivers.barrier.events import (
    CannotSay,
    GateMoved,
    KeepAlive,
    MalformedMessage,
    Order,
    Passed,
    Recognised,
    Reply,
)
from gateway.drivers.barrier.settings import VzenithSettings
from gateway.drivers.barrier.vzenith import VzenithDialect
from gateway.templates.library import firmware_config
from simulators.barrier.speech import VzenithSpeech

SN = "917e2298-8ddf3e46"
ROOT = f"device/{SN}/message"
AT = 1_764_000_000
OPEN = Order(type="open", id="o-1", expires_at=5)
CLOSE = Order(type="close", id="c-1", expires_at=5)
JPEG = b"\xff\xd8\xff\xe0picture"


def dialect(**settings: Any) -> VzenithDialect:
    return VzenithDialect("device", SN, VzenithSettings(**settings))


def up(name: str, body: Any, **fields: Any) -> tuple[str, bytes]:
    envelope = {"id": "m-1", "sn": SN, "name": name, "version": "1.0", "timestamp": AT, **fields}
    return f"{ROOT}/up/{name}", json.dumps({**envelope, "payload": {"type": name, "body": body}}).encode()


def plate(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def recognised(**result: Any) -> Recognised:
    topic, payload = up("ivs_result", {"AlarmInfoPlate": {"result": {"PlateResult": result}}})
    event = dialect().decode(topic, payload)
    assert isinstance(event, Recognised)
    return event


def test_a_recognition() -> None:
    event = recognised(
        license=plate("京AD12345"), confidence=97, triggerType=8, colorType=5, isoffline=0, start_time=AT - 1,
        unique_id="u-7", imageFile=base64.b64encode(JPEG).decode(), direction=4,
    )  # fmt: skip
    assert event == Recognised(
        id="u-7", plate="京AD12345", taken_at=(AT - 1) * 1000, score=970, vehicle_class="new-energy", picture=JPEG
    )


def test_a_recognition_that_was_kept_is_offline_and_has_the_time_of_its_beginning() -> None:
    event = recognised(license=plate("京A12345"), isoffline=1, start_time=AT - 7200)
    assert (event.offline, event.taken_at, event.id) == (True, (AT - 7200) * 1000, f"start-{AT - 7200}")


def test_quick_and_imaged_result_name_the_same_recognition_whatever_names_it() -> None:
    for name in ({"unique_id": "u-1"}, {"unique_id": 17}, {"start_time": AT}, {"unique_id": 0, "start_time": AT}):
        quick, imaged = recognised(license=plate("京A12345"), **name), recognised(imageFile=plate("x"), **name)
        assert quick.id == imaged.id


@pytest.mark.parametrize(
    ("license_", "read"),
    [
        (plate("_无_"), ""),
        (plate("无牌车"), ""),
        ("", ""),
        ("京A12345", "\ufffd"),
        ("a", "\ufffd"),
        (None, "\ufffd"),
        (17, "\ufffd"),
        (base64.b64encode("京A1".encode("gb18030")).decode(), "\ufffd"),
        (plate("A" * 40), "A" * 40),
    ],
)
def test_a_plate_that_was_not_read_or_is_no_text(license_: Any, read: str) -> None:
    event = recognised(license=license_)
    assert read in event.plate if read else event.plate == ""


@pytest.mark.parametrize(
    "result",
    [
        {"confidence": 400}, {"confidence": -3}, {"confidence": "high"}, {"start_time": "now"}, {"start_time": -5},
        {"imageFile": "no base64!"}, {"imageFile": 5}, {"colorType": None}, {"unique_id": [1]},
        {"unique_id": "x" * 300},
    ],
)  # fmt: skip
def test_what_cannot_be_used_of_a_recognition_is_not_used(result: dict[str, Any]) -> None:
    event = recognised(license=plate("京A12345"), **result)
    assert (event.plate, event.picture) == ("京A12345", b"")
    assert 0 <= event.score <= 1000
    assert 1 <= len(event.id) <= 64
    assert event.taken_at == AT * 1000


def test_firmware_that_knows_no_body_is_understood() -> None:
    payload = {"AlarmInfoPlate": {"result": {"PlateResult": {"license": plate("京A12345")}}}}
    told = json.dumps({"id": "1", "sn": SN, "timestamp": AT, "payload": payload}).encode()
    event = dialect().decode(f"{ROOT}/up/quick_ivs_result", told)
    assert isinstance(event, Recognised)
    assert event.plate == "京A12345"


def test_times_in_milliseconds_are_known_as_such() -> None:
    assert dialect().decode(*up("keep_alive", None, timestamp=AT * 1000 + 7)) == KeepAlive(taken_at=AT * 1000 + 7)


def test_life_inputs_and_the_boom() -> None:
    spoken = dialect(passed_input=1)
    trigger = {"AlarmGioIn": {"result": {"TriggerResult": {"source": 1, "value": 0}}}}
    assert spoken.decode(*up("keep_alive", {"timestamp": AT})) == KeepAlive(taken_at=AT * 1000)
    assert spoken.decode(*up("keep_alive", None)) == KeepAlive(taken_at=AT * 1000)
    assert spoken.decode(*up("gpio_in", trigger)) == Passed(taken_at=AT * 1000)
    assert dialect().decode(*up("gpio_in", trigger)) is None
    trigger["AlarmGioIn"]["result"]["TriggerResult"]["value"] = 1
    assert spoken.decode(*up("gpio_in", trigger)) is None
    for state, is_open in ((1, True), (2, False), (0, None), (7, None)):
        moved = spoken.decode(*up("barr_gate_status", {"gate_status": state}))
        assert moved == GateMoved(taken_at=AT * 1000, is_open=is_open)


@pytest.mark.parametrize(
    ("topic", "payload"),
    [
        ("ivs_result", b""), ("ivs_result", b"[]"), ("ivs_result", b"{}"), ("ivs_result", b"\xff\xfe"),
        ("ivs_result", b'{"payload":{"body":{"AlarmInfoPlate":[]}}}'), ("keep_alive", b'{"timestamp":"x"}'),
        ("keep_alive", b'{"sn":"another"}'), ("gpio_in", b'{"payload":{"body":{}}}'), ("ivs_result", b"[" * 90_000),
    ],
)  # fmt: skip
def test_what_tells_of_no_vehicle_is_refused(topic: str, payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        dialect().decode(f"{ROOT}/up/{topic}", payload)


@pytest.mark.parametrize(("code", "ours"), [(200, 0), (404, 404), (500, 500), (0, -1)])
def test_answers(code: int, ours: int) -> None:
    told = json.dumps({"id": "o-1", "sn": SN, "name": "gpio_out", "code": code, "payload": None}).encode()
    assert dialect().decode(f"{ROOT}/down/gpio_out/reply", told) == Reply(id="o-1", code=ours)


def body_of(payload: bytes) -> Any:
    return json.loads(payload)["payload"]["body"]


def test_orders_go_without_a_broker_that_keeps_them() -> None:
    telegram = dialect().encode(OPEN)
    assert (telegram.topic, telegram.qos) == (f"{ROOT}/down/gate_direct_open", 0)
    assert json.loads(telegram.payload)["id"] == "o-1"
    closing = dialect().encode(CLOSE)
    assert closing.topic == f"{ROOT}/down/gpio_out"
    assert body_of(closing.payload) == {"io": 1, "value": 2, "delay": 1500}
    with pytest.raises(CannotSay):
        dialect(close_output=None).encode(CLOSE)


def test_old_firmware_is_told_in_the_old_words_once_it_said_that_it_does_not_know_the_new_ones() -> None:
    spoken = dialect(open_output=2, pulse_ms=700)
    assert not spoken.another_way(Reply(id="o-1", code=500))  # it knows the word and refuses
    assert spoken.encode(OPEN).topic.endswith("gate_direct_open")
    assert spoken.another_way(Reply(id="o-1", code=404))
    assert body_of(spoken.encode(OPEN).payload) == {"io": 2, "value": 2, "delay": 700}
    assert not spoken.another_way(Reply(id="o-1", code=404))  # there is no third way
    assert not dialect(opens_by="gate_direct_open").another_way(Reply(id="o-1", code=404))
    assert dialect(opens_by="gpio_out").encode(OPEN).topic.endswith("gpio_out")


@given(st.sampled_from(["ivs_result", "keep_alive", "gpio_in", "barr_gate_status"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
        ["payload", "body", "AlarmInfoPlate", "result", "PlateResult", "license", "timestamp", "sn", "gate_status"]
    ), inner), max_leaves=20,
))  # fmt: skip
def test_nothing_that_is_said_does_anything_but_be_understood_or_refused(name: str, said: Any) -> None:
    try:
        dialect().decode(f"{ROOT}/up/{name}", json.dumps(said).encode())
    except MalformedMessage:
        return


def test_the_simulator_speaks_what_the_driver_understands() -> None:
    speech, spoken = VzenithSpeech("device", SN), dialect(passed_input=1)
    event = Recognised(id="7", plate="京A12345", taken_at=AT * 1000, score=950, picture=JPEG, offline=True)
    quick, imaged = (spoken.decode(*message) for message in speech.tell(event))
    assert quick == msgspec.structs.replace(event, picture=b"")
    assert imaged == event
    passed = [spoken.decode(*message) for message in speech.tell(Passed(taken_at=AT * 1000))]
    assert passed == [None, Passed(taken_at=AT * 1000)]
    for order in (OPEN, CLOSE):
        heard = speech.hear(*spoken.encode(order)[:2])
        assert heard is not None
        assert heard.order is not None
        assert (heard.order.type, heard.id) == (order.type, order.id)


_TEMPLATE = yaml.safe_load((firmware_config() / "barriers" / "vzenith.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", _TEMPLATE["examples"], ids=lambda example: example["topic"])
def test_every_example_of_the_template_is_understood(example: dict[str, str]) -> None:
    spoken = dialect(passed_input=1)
    assert example["topic"] in spoken.listens
    assert spoken.decode(example["topic"], example["json"].encode()) is not None


def test_the_template_names_what_is_listened_to_and_told() -> None:
    named = {f"{ROOT}/up/{name}" for name in (*_TEMPLATE["events"], "quick_ivs_result")}
    named |= {f"{ROOT}/down/{name}/reply" for name in _TEMPLATE["commands"]}
    assert named == set(dialect().listens)
