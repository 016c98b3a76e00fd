"""The dialect as it is written down in the template, and settings of barrier lines."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.drivers.barrier import BarrierLineSettings
from gateway.drivers.barrier.dialect import decode_due, decode_event, decode_order, decode_reply, encode, topics_of
from gateway.drivers.barrier.events import Due, MalformedMessage, Order, Recognised
from simulators.barrier.plates import random_vehicle

_CONFIG = Path(__file__).parents[5] / "firmware-config"
_TEMPLATE = yaml.safe_load((_CONFIG / "barriers" / "generic-json.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", _TEMPLATE["examples"], ids=lambda example: example["json"][:40])
def test_every_example_of_the_template_is_understood(example: dict[str, str]) -> None:
    topics = topics_of("barriers", "GM-IN-1")
    decode: Any = {
        topics.event: decode_event, topics.command: decode_order, topics.reply: decode_reply, topics.show: decode_due,
    }[example["topic"]]  # fmt: skip
    message = decode(example["json"].encode())
    assert decode(encode(message)) == message


def test_the_template_names_every_field_that_a_display_is_told() -> None:
    assert tuple(_TEMPLATE["show"]["fields"]) == Due.__struct_encode_fields__


def test_the_template_names_every_event_and_field() -> None:
    written = {(event, field) for event, body in _TEMPLATE["events"].items() for field in body["fields"]}
    known = {
        (kind.__struct_config__.tag, field)
        for kind in decode_event.__annotations__["return"].__args__
        for field in kind.__struct_encode_fields__
    }
    assert written == known


def test_unknown_fields_of_newer_devices_are_ignored() -> None:
    event = decode_event(b'{"type":"recognised","id":"1","plate":"X","taken_at":1764000000000,"colour":{"r":1}}')
    assert event == Recognised(id="1", plate="X", taken_at=1_764_000_000_000)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"null", b"{}", b'{"type":"flown"}', b'{"type":"passed"}', b'{"type":"passed","taken_at":"now"}',
        b'{"type":"passed","taken_at":1764000000000,"x":' + b"[" * 100_000 + b"}", b"\xff",
    ],
)  # fmt: skip
def test_malformed_events_are_refused(payload: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_event(payload)


def test_what_can_be_used_of_a_broken_recognition_is_used() -> None:
    """Above all that it happened earlier: such a one opens nothing."""
    broken = b'{"type":"recognised","id":"1","plate":"X1","taken_at":5,"score":-1,"class":"%s","offline":%s}'
    assert decode_event(broken % (b"large", b"true")) == Recognised(
        id="1", plate="X1", taken_at=5, vehicle_class="large", offline=True
    )
    assert decode_event(broken % (b"/ no code", b'"yes"')) == Recognised(id="1", plate="X1", taken_at=5)


def test_replies_and_orders_are_checked_as_well() -> None:
    with pytest.raises(MalformedMessage):
        decode_reply(b'{"id":"1"}')
    with pytest.raises(MalformedMessage):
        decode_order(b'{"type":"explode","id":"1","expires_at":1}')
    order = Order(type="close", id="1", expires_at=5)
    assert decode_order(encode(order)) == order


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"lanes": []}, "lanes"),
        ({"prefix": "a/#"}, "prefix"),
        ({"prefix": "/a"}, "prefix"),
        ({"lanes": [{"device": "a", "sn": "x/y", "direction": "entry"}]}, "sn"),
        ({"lanes": [{"device": "a", "sn": "x", "direction": "sideways"}]}, "direction"),
        ({"lanes": [{"device": "a", "sn": "x", "direction": "exit", "dialect": "morse"}]}, "dialect"),
        ({"lanes": [{"device": "a", "sn": s, "direction": "exit"} for s in "xy"]}, "each device once"),
        ({"lanes": [{"device": d, "sn": "x", "direction": "exit"} for d in "ab"]}, "each sn once"),
        ({"patience": 3}, "patience"),
    ],
)
def test_wrong_settings_say_what_was_expected(change: dict[str, Any], expected: str) -> None:
    good = {
        "name": "garage", "lot": "lot-1", "broker": {"host": "b"},
        "lanes": [{"device": "a", "sn": "x", "direction": "entry"}],
    }  # fmt: skip
    BarrierLineSettings.model_validate(good)
    with pytest.raises(ValidationError, match=expected):
        BarrierLineSettings.model_validate({**good, **change})


def test_the_demo_site_has_an_entry_and_an_exit() -> None:
    site = yaml.safe_load((_CONFIG / "sites" / "demo.yaml").read_text(encoding="utf-8"))
    lines = [BarrierLineSettings.model_validate(line) for line in site["barriers"]]
    assert [(lane.device, lane.direction) for line in lines for lane in line.lanes] == [
        ("lane-in", "entry"),
        ("lane-out", "exit"),
    ]


def test_simulated_plates_look_like_plates_and_repeat_with_their_seed() -> None:
    vehicles = [random_vehicle(chance) for chance in [random.Random(5)] for _ in range(500)]
    assert vehicles == [random_vehicle(chance) for chance in [random.Random(5)] for _ in range(500)]
    green = re.compile(r"[一-鿿][A-HJ-NP-Z][DF]\d{5}")
    blue = re.compile(r"[一-鿿][A-HJ-NP-Z][0-9A-HJ-NP-Z]{5}")
    for vehicle in vehicles:
        assert (green if vehicle.vehicle_class == "new-energy" else blue).fullmatch(vehicle.plate)
    assert {vehicle.vehicle_class for vehicle in vehicles} == {"small", "new-energy", "large"}
