"""What the list of devices takes when it is narrowed down, and what programs are told of a device."""

import json

import pytest

from gateway.catalogue import Wanted, as_json, chosen, planned_reads, rows
from tests.templates import LIBRARY
from tests.unit.gateway.templates.test_docs import paper


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(vendor="EASTRON", text=("sdm72d",)), {"eastron-sdm72d-m", "eastron-sdm72d-m-v2"}),
        (Wanted(medium="water", text=("valve_state", "dcba")), {"xintai-water-meter"}),
        (Wanted(protocol="modbus", vendor="abb"), {"abb-b21", "abb-b23"}),
        (Wanted(protocol="carrier pigeon"), set()),
        (Wanted(), set(LIBRARY.ids)),
    ],
)
def test_every_restriction_must_hold(wanted: Wanted, expected: set[str]) -> None:
    assert {template_id for template_id, _ in chosen(LIBRARY, wanted)} == expected


def test_a_row_names_the_protocol_and_every_channel() -> None:
    row = rows(chosen(LIBRARY, Wanted(text=("tuf-2000m",))))[0]
    assert row["protocol"] == "modbus"
    assert row["channels"] == ["flow", "volume_total", "volume_reverse_total"]


def test_a_device_that_is_not_asked_in_blocks_has_no_reads() -> None:
    assert planned_reads(paper()) == []
    assert json.loads(as_json(paper()))["reads"] == []
