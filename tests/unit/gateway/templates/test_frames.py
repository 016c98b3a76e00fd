"""Templates of DL/T 645 and CJ/T 188: what cannot be right is refused with its place."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.templates.library import firmware_config, load_meter_file

METERS = firmware_config() / "meters"


def problems(tmp_path: Path, template_id: str, old: str, new: str) -> str:
    text = (METERS / f"{template_id}.yaml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / "wrong.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_meter_file(file)
    return str(caught.value)


SINGLE, THREE, OLD = "generic-dlt645-2007-single-phase", "generic-dlt645-2007-three-phase", "generic-dlt645-1997"
WATER, VALVE = "generic-cjt188-cold-water", "generic-cjt188-cold-water-valve"
SECOND_PHASE = 'position: 2, size: 2, scale: "0.1"'


@pytest.mark.parametrize(
    ("template_id", "old", "new", "expected"),
    [
        (SINGLE, 'id: "02010100", size', 'id: "0201", size', "8 digits in an item of edition 2007"),
        (OLD, 'id: "9010"', 'id: "00010000"', "4 digits in an item of edition 1997"),
        (SINGLE, 'id: "02010100", size', 'id: "02010100", position: 1, size', "position 0"),
        (THREE, "item_size: 8", "item_size: 2", "item_size not below size"),
        (
            THREE,
            SECOND_PHASE,
            SECOND_PHASE.replace("size: 2", "size: 3"),
            "the same step for all values of block 0201FF00",
        ),
        (OLD, "serial:", "controls: {clock: {}}\nserial:", "only meters of edition 2007 are ordered"),
        (WATER, "offset: 0,", "offset: 15,", "a place inside the 19 bytes of 901F"),
        (WATER, "status_offset: 10", "status_offset: 13", "a place inside the 19 bytes of 901F"),
        (VALVE, "status_offset: 17", "status_offset: 19", "a place inside the 19 bytes of 901F"),
        (WATER, 'lengths: {"901F": 19}', 'lengths: {"902F": 19}', "an item of lengths: 902F"),
        (WATER, 'unit_code: "2C"', 'unit_code: "29"', "expected unit L, which code 29 means"),
        (f"{VALVE}-high-bits", 'is_closed: "40"', 'is_closed: "00"', "is_open and is_closed to differ"),
        ("generic-cjt188-heat", 'scale: "0.01", unit: kWh', 'scale: "0.00001", unit: kWh', "not exact"),
    ],
)
def test_refused(tmp_path: Path, template_id: str, old: str, new: str, expected: str) -> None:
    assert expected in problems(tmp_path, template_id, old, new)
