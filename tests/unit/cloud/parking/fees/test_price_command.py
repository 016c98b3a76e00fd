"""`gatemeter parking price` with whatever is typed: a price that is the engine's, or a sentence and exit code 2."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud.parking.fees.commands import app
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.pricing import price_stay
from cloud.parking.fees.reading import rule_text
from tests.unit.cloud.parking.fees.rules import rules, zones

MALL = Path(__file__).parents[5] / "firmware-config/parking/mall.yaml"
OFFICE = MALL.with_name("office.yaml")
STAY = ["--entry", "2026-05-01T08:00", "--exit", "2026-05-01T13:00"]


def run(*arguments: str, file: Path = MALL) -> tuple[int, str, str]:
    """Exit code, what was printed, what was complained of."""
    result = CliRunner().invoke(app, ["price", str(file), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


_times = st.sampled_from(
    ["0001-01-01T00:00", "9999-12-31T23:59:59", "2026-05-01", "2026-05-01T08:00+14:00", "2026-05-01T08:00Z",
     "2026-W18-5",
     "2024-02-29T23:59", "2026-02-30T00:00", "20260501T0800", "2026-05-01T08:00:00.999999", "1969-12-31T23:59",
     "", "soon",
     "2026-03-29T02:30", "2026-10-25T02:30", "2026-05-01T24:00", "2026-05-01T08:00+23:59", "0001-01-01T00:00-23:59"]
)  # fmt: skip
_options = st.one_of(
    st.tuples(st.just("--covered"), st.tuples(_times, _times).map("/".join) | _times),
    st.tuples(st.just("--quota-used"), st.sampled_from(["0", "10080", "10081", "-1", "9" * 30, "x"])),
    st.tuples(
        st.just("--coupon"),
        st.sampled_from(
            ["hours=2", "hours=NaN", "hours=-1", "hours=1e3", "hours=1E-9", "percentage=100", "percentage=101",
             "money=0",
             "money=Infinity", "money=99999", "money=1_0", "free", "free=1", "gift=1", "=", "hours", "money=５"]
        ),
    ),
    st.tuples(
        st.just("--day"),
        st.tuples(_times, st.sampled_from(["work", "holiday", "sunday", ""])).map("=".join)
        | st.sampled_from(["2026-05-01=work", "0001-01-01=rest", "9999-12-31=holiday", "2024-02-29=critical", "="]),
    ),
    st.tuples(st.just("--calendar"), st.sampled_from(["cn-2026", "cn-1900", "../tariffs/x", "", "/etc/x", "a\0b"])),
    st.tuples(
        st.just("--charged-kwh"), st.sampled_from(["0", "12.5", "-1", "NaN", "sNaN", "1e9", "0.0001", "1E+3", "", "x"])
    ),
    st.tuples(st.just("--charged-minutes"), st.sampled_from(["0", "20000", "20001", "-1", "x"])),
    st.tuples(st.just("--class"), st.sampled_from(["small", "new-energy", "", "Bus!", "x" * 300])),
    st.tuples(
        st.just("--time-zone"),
        st.sampled_from(["Europe/Berlin", "UTC", "", "../x", "/etc/passwd", "Mars/Base", "a\0b", "Asia", "posixrules"]),
    ),
).map(list)  # fmt: skip


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(_times, _times, st.lists(_options, max_size=3), st.booleans(), st.sampled_from([MALL, OFFICE]))
def test_whatever_is_typed_ends_with_a_price_or_a_sentence(
    entry: str, leave: str, options: list[list[str]], as_json: bool, file: Path
) -> None:
    arguments = [part for option in options for part in option] + (["--json"] if as_json else [])
    code, out, err = run("--entry", entry, "--exit", leave, *arguments, file=file)
    assert code in (0, 2), err
    if code == 2:
        assert (out, bool(err.strip())) == ("", True)
    elif as_json:
        found = json.loads(out)
        assert set(found) == {"amount", "currency", "steps"}
        assert Decimal(found["amount"]) == sum((Decimal(step["amount"]) for step in found["steps"]), Decimal(0)) >= 0


@pytest.mark.parametrize("file", [MALL, OFFICE], ids=lambda path: path.stem)
def test_stays_of_ages_are_refused_before_they_are_counted(file: Path) -> None:
    code, _, err = run("--entry", "1990-01-01T00:00", "--exit", "9990-01-01T00:00", file=file)
    assert (code, "--exit" in err) == (2, True)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rules(), st.integers(0, 20_000), st.integers(0, 5_000), zones)
def test_what_it_prints_is_the_price_of_the_engine(
    tmp_path: Path, rule: ParkingRule, start: int, minutes: int, zone: ZoneInfo
) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(rule_text(rule), "utf-8")
    entered = datetime(2026, 3, 20, tzinfo=UTC) + timedelta(minutes=start)
    left = entered + timedelta(minutes=minutes)
    fee = price_stay(rule, entered, left, "small", zone)
    times = ["--entry", entered.isoformat(), "--exit", left.isoformat(), "--time-zone", zone.key]
    code, out, _ = run(*times, "--json", file=file)
    assert (code, json.loads(out)["amount"]) == (0, str(fee.amount))
    code, table, _ = run(*times, file=file)
    assert (code, str(fee.amount) in table) == (0, True)


def test_the_help_shows_examples_that_work() -> None:
    result = CliRunner().invoke(app, ["price", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "gatemeter parking price mall.yaml --entry 2026-05-01T08:00" in result.stdout
    assert "Exit codes: 0 priced, 2" in result.stdout
    examples = [
        [*STAY, "--class", "new-energy"],
        ["--entry", "2026-05-01T08:00", "--exit", "2026-05-02T20:00", "--covered", "2026-05-01T08:00/2026-05-02T00:00",
         "--coupon", "hours=2", "--coupon", "percentage=20"],
        ["--entry", "2026-10-01T08:00", "--exit", "2026-10-01T13:00", "--calendar", "cn-2026", "--json"],
    ]  # fmt: skip
    assert [run(*one)[0] for one in examples] == [0, 0, 0]


@pytest.mark.parametrize("text", ["", "[]", "name: x", "name: x\nschedule: 5", "\0", "a: &a [*a]"])
def test_a_file_that_is_no_rule_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(text, "utf-8")
    for command in (["price", str(file), *STAY], ["check", str(file)]):
        result = CliRunner().invoke(app, command)
        assert (result.exit_code, result.stdout, str(file) in result.stderr.replace("\n", "")) == (2, "", True)
