"""A recorded household's register is exactly what was recorded; in its gaps it is silent and stands still."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from simulators.modbus.meter import DEVICE_FAILURE, Refused
from simulators.modbus.recorded import INTERVAL_S, RecordedDwelling, RecordedMeter, Recording, read_recording
from tests.templates import modbus

SYDNEY = ZoneInfo("Australia/Sydney")
HOUSEHOLDS = Path(__file__).parents[3] / "data" / "electric" / "households.csv"
TOTAL = "energy_import_total"


def dwelling(recording: Recording, opening: int = 0) -> RecordedDwelling:
    return RecordedDwelling("m", "electricity", SYDNEY, recording, opening)


def test_the_register_counts_what_was_recorded() -> None:
    recording = read_recording(HOUSEHOLDS, "E09", SYDNEY)
    home = dwelling(recording, opening=1_000)
    first, end = recording.ends
    assert datetime.fromtimestamp(first, UTC) == datetime(2013, 5, 31, 14, tzinfo=UTC)
    assert home.value(TOTAL, first - 1) == home.value(TOTAL, first) == 1_000
    assert home.value(TOTAL, end) == 1_000 + sum(recording.wh)
    steps = [home.value(TOTAL, start + INTERVAL_S) - home.value(TOTAL, start) for start in recording.starts_s]
    assert steps == list(recording.wh)


def test_inside_an_interval_it_runs_evenly_and_in_a_gap_it_stands() -> None:
    home = dwelling(Recording([0, 10 * INTERVAL_S], [900, 60]))
    assert [home.value(TOTAL, at) for at in (0, 600, 1_800, 9 * INTERVAL_S)] == [0, 300, 900, 900]
    assert home.value(TOTAL, 11 * INTERVAL_S) == 960
    assert (home.rate(600), home.rate(5 * INTERVAL_S), home.value("energy_import_peak", 600)) == (1_800, 0, 0)


def test_a_meter_in_a_gap_answers_nothing_of_use() -> None:
    now_s = [INTERVAL_S]
    home = dwelling(Recording([0, 10 * INTERVAL_S], [900, 60]))
    meter = RecordedMeter("m", modbus("gatemeter-demo-electricity"), home, lambda: now_s[0] * 1_000)
    assert meter.read(3, 0, 2) == [0, 900]
    now_s[0] += 1
    with pytest.raises(Refused) as refused:
        meter.read(3, 0, 2)
    assert refused.value.code == DEVICE_FAILURE


@pytest.mark.parametrize(
    ("rows", "message"),
    [("E01,2013-01-01 00:00:00,0.1\n", "no rows of meter E02"), ("E02,2013-01-01 00:00:00,0.1005\n", "whole number")],
)
def test_a_file_that_cannot_be_replayed_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    file = tmp_path / "series.csv"
    file.write_text("meter,reading_datetime,general_supply_kwh\n" + rows)
    with pytest.raises(ValueError, match=message):
        read_recording(file, "E02", SYDNEY)
