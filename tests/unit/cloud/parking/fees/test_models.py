"""Fee rules: every file that comes with the software is valid, and what is wrong is named by line and key."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import load_yaml
from cloud.parking.fees.commands import app
from cloud.parking.fees.models import ParkingRule, rule_schema
from cloud.parking.plates import bare_plate, valid_plate

CONFIG = Path(__file__).parents[5] / "firmware-config"
FILES = sorted((CONFIG / "parking").glob("*.yaml"))

RULE = """\
name: test
schedule:
  free_minutes: 30
  windows:
    - {start: "08:00", end: "18:00", minutes: 30, price: "1.00"}
    - {start: "18:00", end: "08:00", minutes: 60, price: "0.50"}
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_rule_of_ours_is_valid_names_its_source_and_survives_storing(path: Path) -> None:
    rule = load_yaml(path, ParkingRule)
    assert rule.source
    assert ParkingRule.model_validate(rule.model_dump(mode="json")) == rule


def test_the_stored_schema_is_current() -> None:
    assert (CONFIG / "schema/parking.schema.json").read_text("utf-8") == rule_schema()


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("name: test", "name: test\nnmae: x"), 2, "nmae: unknown key"),
        (('price: "1.00"', "price: 1.00"), 5, "schedule.windows[0].price: expected a quoted amount"),
        (('price: "1.00"', 'price: "-1.00"'), 5, "expected a quoted amount"),
        (('price: "1.00"', 'price: "NaN"'), 5, "expected a quoted amount"),
        (('price: "1.00"', 'price: "1.005"'), 1, "amounts in CNY have at most 2 decimals"),
        (("minutes: 30", "minutes: 0"), 5, "schedule.windows[0].minutes"),
        (('end: "18:00"', 'end: "17:00"'), 4, "17:00 is in no window"),
        (('end: "18:00"', 'end: "18:30"'), 4, "18:00 is in 2 windows"),
        (('end: "18:00"', 'end: "25:00"'), 5, "schedule.windows[0].end"),
        (("free_minutes: 30", "free_minutes_per: day"), 2, "free_minutes must be above 0"),
        (("free_minutes: 30", "charging: {at_most_minutes: 60}"), 3, "free_minutes_per_kwh or"),
        (('minutes: 30, price: "1.00"', "cap: '5.00'"), 5, "either minutes and price, or steps"),
        (("windows:\n", 'windows:\n    - {start: "07:00", end: "08:00", minutes: 9, price: "1.00"}\n'), 4, "2 windows"),
        (('end: "18:00", minutes', 'end: "18:00", days: [rest], minutes'), 4, "08:00 is in no window on a day of kind"),
        (
            (
                "free_minutes: 30",
                'caps: {escalating: [{within_minutes: 9, amount: "2"}, {within_minutes: 9, amount: "3"}]}',
            ),
            3,
            "within_minutes must rise",
        ),
        (
            (
                "free_minutes: 30",
                'caps: {escalating: [{within_minutes: 9, amount: "2"}, {within_minutes: 10, amount: "1"}]}',
            ),
            3,
            "may not have a lower cap",
        ),
        (
            ('minutes: 30, price: "1.00"', 'steps: [{minutes: 30, price: "1.00", up_to_minutes: 60}]'),
            5,
            "the last has none",
        ),
        (
            (
                'minutes: 30, price: "1.00"',
                'steps: [{minutes: 3, price: "1", up_to_minutes: 60}, {minutes: 3, price: "1", up_to_minutes: 60},'
                ' {minutes: 3, price: "1"}]',
            ),
            5,
            "up_to_minutes must rise",
        ),
        (("free_minutes: 30", 'unit: {minutes: 60, price: "1.00"}'), 2, "either unit or steps or windows"),
    ],
)
def test_a_wrong_rule_is_refused_with_file_line_and_key(
    tmp_path: Path, change: tuple[str, str], line: int, words: str
) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(RULE.replace(*change), "utf-8")
    with pytest.raises(InvalidInput) as refused:
        load_yaml(file, ParkingRule)
    assert f"{file}:{line}:" in refused.value.detail
    assert words in refused.value.detail


@pytest.mark.parametrize("up_to", [59, 60])
def test_a_step_that_the_first_block_leaves_nothing_of_is_refused(tmp_path: Path, up_to: int) -> None:
    steps = f'[{{minutes: 60, price: "9", up_to_minutes: {up_to}}}, {{minutes: 60, price: "1"}}]'
    file = tmp_path / "rule.yaml"
    file.write_text(f'name: x\nschedule:\n  first: {{minutes: 60, amount: "5"}}\n  steps: {steps}\n', "utf-8")
    with pytest.raises(InvalidInput, match=f"the step up to {up_to} is never reached"):
        load_yaml(file, ParkingRule)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_price_as_json() -> None:
    code, output = _run(
        "price", str(CONFIG / "parking/mall.yaml"), "--entry", "2026-05-01T08:00", "--exit", "2026-05-01T13:00",
        "--class", "new-energy", "--json",
    )  # fmt: skip
    assert code == 0
    assert '"amount": "3.50", "currency": "CNY"' in output
    assert '"start": "2026-05-01T08:00:00+08:00"' in output


def test_price_in_another_zone_and_with_offsets() -> None:
    file = str(CONFIG / "parking/day-night.yaml")
    times = ("--entry", "2026-05-01T07:00Z", "--exit", "2026-05-01T09:00+00:00")
    assert '"amount": "4.00"' in _run("price", file, *times, "--json")[1]
    assert '"amount": "1.00"' in _run("price", file, *times, "--json", "--time-zone", "America/New_York")[1]


def test_price_as_a_table_shows_the_steps_and_their_sum() -> None:
    code, output = _run(
        "price", str(CONFIG / "parking/day-night.yaml"), "--entry", "2026-05-01T08:00", "--exit", "2026-05-02T08:00"
    )
    assert code == 0
    assert [amount in output for amount in ("20.00", "7.00", "-7.00")] == [True] * 3


TIMES = ("--entry", "2026-05-01T08:00", "--exit", "2026-05-01T12:00")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--entry", "yesterday", "--exit", "2026-05-01T13:00"), "--entry: expected a time"),
        (("--entry", "2026-05-01T13:00", "--exit", "2026-05-01T12:00"), "before the entry"),
        ((*TIMES, "--time-zone", "Mars/Base"), "--time-zone"),
        ((*TIMES, "--covered", "2026-05-01T08:00"), "--covered: expected a time"),
        ((*TIMES, "--covered", "2026-05-01T08:00/2026-05-01T08:00"), "--covered: expected FROM/UNTIL"),
        ((*TIMES, "--coupon", "hours=x"), "--coupon: expected 0 to 168"),
        ((*TIMES, "--coupon", "percentage=101"), "--coupon: expected 0 to 100"),
        ((*TIMES, "--coupon", "gift=1"), "--coupon: expected hours=2"),
        ((*TIMES, "--day", "2026-05-01=sunny"), "--day: expected DATE=work"),
        ((*TIMES, "--day", "1 May=work"), "--day: expected DATE=work"),
        ((*TIMES, "--calendar", "mars-2026"), "--calendar: there is no calendar mars-2026; there are cn-"),
        ((*TIMES, "--charged-kwh", "NaN"), "--charged-kwh"),
        ((*TIMES, "--quota-used", "99999"), "--quota-used"),
    ],
)
def test_price_refuses_with_exit_code_2(arguments: tuple[str, ...], words: str) -> None:
    code, output = _run("price", str(CONFIG / "parking/mall.yaml"), *arguments)
    assert code == 2
    assert words in output


WHOLE_RULE = """\
name: all of it
schedule:
  free_minutes: 60
  free_minutes_per: day
  billing_from: end-of-free
  windows:
    - {start: "00:00", end: "24:00", days: [work], minutes: 60, price: "4.00"}
    - {start: "00:00", end: "24:00", days: [rest, holiday, critical], minutes: 60, price: "2.00"}
  charging: {free_minutes_per_kwh: 6}
"""


@pytest.mark.parametrize(
    ("options", "amount"),
    [
        ((), "36.00"),
        (("--quota-used", "30"), "40.00"),
        (("--covered", "2026-04-30T18:00/2026-05-01T00:00"), "12.00"),
        (("--calendar", "cn-2026"), "28.00"),
        (("--day", "2026-04-30=rest"), "26.00"),
        (("--charged-kwh", "10"), "32.00"),
        (("--coupon", "hours=2"), "28.00"),
        (("--coupon", "money=10", "--coupon", "percentage=50", "--coupon", "hours=2"), "4.00"),
        (("--coupon", "free"), "0.00"),
    ],
)
def test_price_takes_every_circumstance(tmp_path: Path, options: tuple[str, ...], amount: str) -> None:
    """From 18:00 on a Thursday to 04:00 on a Friday, a holiday in cn-2026: six hours and four, one of them free."""
    file = tmp_path / "rule.yaml"
    file.write_text(WHOLE_RULE, "utf-8")
    times = ("--entry", "2026-04-30T18:00", "--exit", "2026-05-01T04:00")
    code, output = _run("price", str(file), *times, *options, "--json")
    assert (code, json.loads(output)["amount"]) == (0, amount)
    assert _run("price", str(file), *times, *options)[0] == 0


def test_check_warns_of_what_is_seldom_meant(tmp_path: Path) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(RULE + '  caps: {per_24_hours: "0.50", per_calendar_day: "0.00"}\n', "utf-8")
    code, output = _run("check", str(file))
    assert code == 0
    assert "schedule.caps.per_24_hours: the cap 0.50 is below the charge 1.00" in output
    assert "schedule.caps.per_calendar_day: a cap of 0 makes every stay free" in output


def test_check(tmp_path: Path) -> None:
    assert _run("check", str(CONFIG / "parking/mall.yaml"))[0] == 0
    code, output = _run("check", str(tmp_path / "missing.yaml"))
    assert (code, "missing.yaml" in output) == (2, True)


@pytest.mark.parametrize(
    ("text", "plate"), [("京A·12345", "京A12345"), (" sh-ab 123 ", "SHAB123"), ("粤Z1234港", "粤Z1234港")]
)
def test_plates_are_compared_without_dots_dashes_and_case(text: str, plate: str) -> None:
    assert (valid_plate(text), bare_plate(text)) == (plate, plate)


@pytest.mark.parametrize("text", ["", "·", "A", "A" * 17, "A\x00B", "京A<b>", "A" * 1000])
def test_bad_plates_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        valid_plate(text)


def test_a_rule_is_read_once_for_all_classes() -> None:
    rule = load_yaml(CONFIG / "parking/mall.yaml", ParkingRule)
    assert rule.schedule_of("lorry") is rule.schedule
    assert rule.schedule_of("new-energy").first is not None
