"""What rows say: meters by code and by serial, times and lengths of intervals, values of the register then."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.kit.tables import row_of
from cloud.metering.imports.records import Kind, Stamped
from cloud.metering.imports.rows import KnownMeter, Reading, Rows, Understood, in_base_unit
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter, MeterRegister, belongs_to
from gateway.contract.quantities import BY_CODE, BY_NUMBER

SYDNEY = ZoneInfo("Australia/Sydney")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
INSTALLED, EXCHANGED = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)


def register(
    meter_id: int, serial: str, start: datetime, end: datetime | None, modulus: int = 10**9, resolution: int = 1
) -> MeterRegister:
    return MeterRegister(
        meter_id, meter_id, start, end, "installed", serial, Decimal(1), modulus, resolution, 60_000, {}
    )


def known(meter_id: int, *registers: MeterRegister, medium: Medium = "electricity") -> KnownMeter:
    meter = Meter(
        meter_id, 1, f"E{meter_id}", medium, None, None, "", "", Decimal(1), 10**9, 60_000, date(2025, 1, 1), None
    )
    return KnownMeter(meter, registers)


ONE = known(1, register(1, "A", INSTALLED, EXCHANGED, 10**8, 10), register(1, "B", EXCHANGED, None))
# The old meter of the first place went to the second one.
TWO = known(2, register(2, "A", EXCHANGED, datetime(2026, 5, 1, tzinfo=UTC)))


def understand(
    cells: dict[str, str], kind: Kind = "register", stamped: Stamped = "start", interval_s: int | None = None
) -> Understood:
    how = Reading(kind, SYDNEY, NOW, stamped, interval_s)
    rows = Rows(how, {"E1": ONE, "E2": TWO}, {"A": [ONE, TWO], "B": [ONE]})
    return rows.understand(row_of(2, list(cells.values()), list(cells)))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("serial", "time", "meter_id", "code"),
    [
        ("A", "2026-02-01 00:00Z", 1, ""),
        ("A", "2026-04-01 00:00Z", 2, ""),
        ("B", "2026-04-01 00:00Z", 1, ""),
        ("B", "2026-02-01 00:00Z", 1, "other-serial"),
        ("A", "2026-05-02 00:00Z", None, "unknown-meter"),
        ("C", "2026-02-01 00:00Z", None, "unknown-meter"),
        ("", "2026-02-01 00:00Z", None, "unknown-meter"),
    ],
)
def test_a_serial_is_that_of_its_time(serial: str, time: str, meter_id: int | None, code: str) -> None:
    found = understand({"serial": serial, "time": time, "value": "1"})
    assert (found.meter_id, found.code) == (meter_id, code)


@pytest.mark.parametrize(
    ("time", "value", "expected", "code"),
    [
        ("2026-02-28 23:59Z", "99999.99", 99_999_990, ""),
        ("2026-02-28 23:59Z", "100000", None, "beyond-register"),
        ("2026-02-28 23:59Z", "1.234", None, "too-fine"),
        ("2026-03-01 00:00Z", "100000.001", 100_000_001, ""),
        ("2024-12-31 23:59Z", "1", None, "before-installation"),
        ("2026-06-01 00:06Z", "1", None, "in-future"),
    ],
)
def test_a_value_is_one_of_the_register_in_force(time: str, value: str, expected: int | None, code: str) -> None:
    found = understand({"meter": "E1", "time": time, "value": value})
    assert (found.value, found.code) == (expected, code)
    assert found.placed_ms == found.taken_ms


def test_after_its_removal_a_meter_has_no_readings() -> None:
    found = understand({"meter": "E2", "time": "2026-05-02 00:00Z", "value": "1"})
    assert (found.meter_id, found.code, found.field) == (2, "meter-removed", "time")


@pytest.mark.parametrize(
    ("cells", "options", "start", "end"),
    [
        ({}, {"interval_s": 1800}, "2026-01-31T00:00Z", "2026-01-31T00:30Z"),
        ({}, {"interval_s": 1800, "stamped": "end"}, "2026-01-30T23:30Z", "2026-01-31T00:00Z"),
        ({"length": "60"}, {"interval_s": 1800}, "2026-01-31T00:00Z", "2026-01-31T00:01Z"),
        ({"end": "2026-01-31 00:10Z"}, {}, "2026-01-31T00:00Z", "2026-01-31T00:10Z"),
    ],
)
def test_an_interval_has_two_ends(cells: dict[str, str], options: dict[str, int], start: str, end: str) -> None:
    found = understand({"meter": "E1", "time": "2026-01-31 00:00Z", "value": "1", **cells}, "interval", **options)  # type: ignore[arg-type]
    assert (found.code, found.taken_ms, found.until_ms) == ("", at(start), at(end))


@pytest.mark.parametrize(
    ("cells", "interval_s", "code", "field"),
    [
        ({}, None, "bad-length", "length"),
        ({"length": "half an hour"}, None, "bad-length", "length"),
        ({"length": "0"}, None, "bad-length", "length"),
        ({"length": "9000000"}, None, "bad-length", "length"),
        ({"end": "2026-01-31 00:00Z"}, None, "bad-length", "length"),
        ({"end": "soon"}, None, "bad-time", "end"),
        ({"time": "2026-02-28 23:45Z"}, 1800, "over-an-exchange", "time"),
        ({"time": "2026-05-31 23:50Z"}, 1800, "in-future", "time"),
        ({"channel": "voltage_l1", "unit": "V"}, 1800, "not-cumulative", "channel"),
        ({"channel": "volume_total"}, 1800, "wrong-channel", "channel"),
        ({"channel": "no"}, 1800, "unknown-channel", "channel"),
        ({"value": "-1"}, 1800, "negative", "value"),
    ],
)
def test_intervals_that_cannot_be(cells: dict[str, str], interval_s: int | None, code: str, field: str) -> None:
    row = {"meter": "E1", "time": "2026-01-31 00:00Z", "value": "1", **cells}
    found = understand(row, "interval", interval_s=interval_s)
    assert (found.code, found.field) == (code, field)


def test_an_interval_up_to_the_exchange_is_the_old_registers() -> None:
    found = understand({"meter": "E1", "time": "2026-02-28 23:30Z", "value": "1"}, "interval", interval_s=1800)
    assert (found.code, found.until_ms) == ("", at("2026-03-01T00:00Z"))


@pytest.mark.parametrize(("day", "hours"), [("2025-10-05", 23), ("2026-04-05", 25), ("2026-01-31", 24)])
def test_whole_days_are_local_days(day: str, hours: int) -> None:
    found = understand({"meter": "E1", "time": day, "value": "1"}, "interval", interval_s=86_400)
    assert found.taken_ms is not None
    assert found.until_ms is not None
    assert found.until_ms - found.taken_ms == hours * 3_600_000


def test_a_row_without_a_time_stands_behind_the_row_before_it() -> None:
    rows = Rows(Reading("register", SYDNEY, NOW), {"E1": ONE, "E2": TWO}, {})
    names = ["meter", "time", "value"]
    lines = [("E1", "never", "1"), ("E1", "2026-01-31 00:00Z", "1"), ("E2", "x", "1"), ("E1", "", "1"), ("E9", "", "1")]
    found = [rows.understand(row_of(n, line, names)) for n, line in enumerate(lines)]
    assert [one.placed_ms for one in found] == [0, at("2026-01-31T00:00Z"), 0, at("2026-01-31T00:00Z"), None]
    assert [one.taken_ms for one in found] == [None, at("2026-01-31T00:00Z"), None, None, None]


def test_every_medium_measures_its_own_channel_and_no_other() -> None:
    for medium, main in MAIN_CHANNEL.items():
        others = {other.code for name, other in MAIN_CHANNEL.items() if name != medium}
        assert belongs_to(main, medium)
        assert [code for code in sorted(others) if belongs_to(BY_CODE[code], medium)] == (
            ["volume_total"] if medium == "heat" else []
        )
    assert all(any(belongs_to(one, medium) for medium in MAIN_CHANNEL) for one in BY_NUMBER.values())


@given(st.integers(0, 10**15))
def test_values_are_exact(value: int) -> None:
    for unit, quantity, exponent in (("", "energy_import_total", 3), ("L", "volume_total", 3), ("", "volume_total", 6)):
        assert in_base_unit(f"{Decimal(value).scaleb(-exponent):f}", unit, BY_CODE[quantity]) == value


@given(st.text(max_size=30))
def test_no_text_is_a_surprise(text: str) -> None:
    try:
        assert 0 <= in_base_unit(text, "", BY_CODE["volume_total"]) < 2**63
    except InvalidInput:
        return
