"""Rates of the URDB as tariffs: prices, tiers, seasons, hours; and what cannot be said is told by name."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.commands import app
from cloud.tariffs.drafts.trial import Trial, rate_trial
from cloud.tariffs.drafts.yaml import from_yaml, to_yaml
from cloud.tariffs.files.checking import check
from cloud.tariffs.files.urdb import import_urdb, read_urdb
from cloud.tariffs.model.hours import slots_on
from cloud.tariffs.model.tariff import TariffContent

FLAT = [[0] * 24] * 12


def _rate(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "label": "5cd", "utility": "Example Power", "name": "Residential",
        "energyratestructure": [[{"max": 300, "rate": 0.1, "adj": 0.0125, "unit": "kWh"}, {"rate": 0.2}]],
        "energyweekdayschedule": FLAT, "energyweekendschedule": FLAT,
    }  # fmt: skip
    return given | changes


def _content(**changes: Any) -> tuple[TariffContent, tuple[str, ...]]:
    imported = import_urdb(read_urdb(json.dumps({"items": [_rate(**changes)]})))
    content, problems = check(from_yaml(to_yaml(imported.document)))
    assert content is not None, problems
    return content, imported.left_out


def test_tiers_fixed_charge_and_minimum() -> None:
    content, left_out = _content(
        fixedchargefirstmeter=7.5, fixedchargeunits="$/month", mincharge=10, minchargeunits="$/month"
    )
    assert left_out == ()
    assert rate_trial(content, Trial(usage="300")).amount == Decimal("41.25")  # 300 × 0.1125 + 7.50: 300 is inside
    assert rate_trial(content, Trial(usage="400")).amount == Decimal("61.25")
    assert rate_trial(content, Trial(usage="0")).amount == Decimal("10.00")


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=24, max_size=24), min_size=3, max_size=3),
    st.lists(st.integers(0, 2), min_size=12, max_size=12),
    st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_every_hour_of_the_year_has_the_price_of_its_period(
    rows: list[list[int]], work: list[int], rest: list[int]
) -> None:
    structure = [[{"rate": rate}] for rate in (0.1, 0.2, 0.3)]
    weekday, weekend = [rows[n] for n in work], [rows[n] for n in rest]
    content, _ = _content(energyratestructure=structure, energyweekdayschedule=weekday, energyweekendschedule=weekend)
    (energy,) = content.energy
    for month in range(12):
        for day, row in (("work", weekday[month]), ("holiday", weekend[month])):
            season = content.season_on(date(2026, month + 1, 28))
            for hour in range(24):
                code = slots_on(content.periods, season, day)[hour * 4] if content.periods else "all"  # type: ignore[arg-type]
                assert energy.rows(season)[code] == (Decimal(row[hour] + 1) / 10,)


def test_demand_of_all_months() -> None:
    content, left_out = _content(flatdemandstructure=[[{"rate": 4, "adj": 0.5}]], flatdemandmonths=[0] * 12)
    assert left_out == ()
    assert [(part.kind, part.code) for part in content.components] == [("energy", "energy"), ("demand", "load")]
    assert rate_trial(content, Trial(usage="0", demand="10")).amount == Decimal("45.00")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"flatdemandstructure": [[{"rate": 1}], [{"rate": 2}]], "flatdemandmonths": [0] * 6 + [1] * 6}, "flatdemand"),
        ({"flatdemandstructure": [[{"rate": 1}]], "flatdemandunit": "hp"}, "flatdemandstructure"),
        ({"demandratestructure": [[{"rate": 1, "max": 5}, {"rate": 2}]], "demandweekdayschedule": FLAT}, "demandrate"),
        ({"fixedchargefirstmeter": 9, "fixedchargeunits": "$/year"}, "fixedchargefirstmeter $/year"),
        ({"demandratchetpercentage": [0.8] * 12}, "demandratchetpercentage"),
        ({"somethingnew": 3}, "somethingnew"),
        ({"energyratestructure": [[{"rate": 0.1, "sell": 0.05}]]}, "sell"),
        ({"energyratestructure": [[{"rate": 0.1, "max": 500}]]}, "[0][0].max"),
        ({"energyratestructure": [[{"rate": 0.123456789}]]}, "rounded"),
    ],
)
def test_what_is_not_taken_over_is_told(changes: dict[str, Any], named: str) -> None:
    _, left_out = _content(**changes)
    assert any(named in sentence for sentence in left_out), left_out


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"energyweekdayschedule": [[0] * 24] * 11}, "energyweekdayschedule"),
        ({"energyweekdayschedule": [[1] * 24] * 12}, "energyweekdayschedule"),
        ({"energyratestructure": [[{"rate": 0.1, "max": 5, "unit": "kWh daily"}, {"rate": 1}]]}, "unit"),
        ({"energyratestructure": [[{"rate": 0.1}, {"rate": 1}]]}, "max"),
        ({"energyratestructure": [[{"rate": 0.1, "adj": -0.2}]]}, "energyratestructure[0][0]"),
        ({"energyratestructure": [[{"rate": "cheap"}]]}, "rate"),
        ({"energyratestructure": []}, "items"),
    ],
)
def test_what_cannot_be_a_tariff_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        _content(**changes)
    assert field in (refused.value.field or "")


DOC = "https://openei.org/services/doc/rest/util_rates"
SAM = "github NREL/SAM, src/urdb.cpp, OpenEI::RetrieveUtilityRateData"
SSC = "github NREL/ssc, shared/lib_utility_rate_equations.cpp"
REOPT = "github NREL/REopt.jl, src/core/urdb.jl"
TIERS = [{"max": 300, "rate": 0.1}, {"max": 800, "rate": 0.2}, {"rate": 0.4}]


def test_max_counts_from_the_start_of_the_month() -> None:
    """REOPT: energy_tier_limits_kwh are upper limits, not widths; SSC: what lies between two upper bounds."""
    content, _ = _content(energyratestructure=[TIERS])
    assert content.tiers.bounds == (Decimal(300), Decimal(800))
    assert content.tiers.window.kind == "month"
    assert rate_trial(content, Trial(usage="1000")).amount == Decimal(30 + 100 + 80)


@pytest.mark.parametrize(("usage", "amount"), [("299.999", "30.00"), ("300", "30.00"), ("300.050", "30.01")])
def test_whether_max_is_in_its_tier_makes_no_difference_to_an_amount(usage: str, amount: str) -> None:
    """SSC compares `<` with the upper bound, we `<=`: the tiers are graduated, so both give the same at the bound."""
    content, _ = _content(energyratestructure=[TIERS])
    assert rate_trial(content, Trial(usage=usage)).amount == Decimal(amount)


@pytest.mark.parametrize("unit", ["kWh", "kwh", "KWH", "", None])
def test_a_tier_is_in_kilowatt_hours_unless_it_says_otherwise(unit: str | None) -> None:
    """SAM: units.Lower() == "kwh", and kWh where the unit is not given."""
    content, _ = _content(energyratestructure=[[{"max": 300, "rate": 0.1, "unit": unit}, {"rate": 0.2}]])
    assert content.tiers.bounds == (Decimal(300),)


@pytest.mark.parametrize("unit", ["kWh daily", "kWh/kW", "kWh/kW daily"])
def test_tiers_by_the_day_or_by_the_load_are_refused(unit: str) -> None:
    """SAM knows these units of `max`; a tariff here does not."""
    with pytest.raises(InvalidInput) as refused:
        _content(energyratestructure=[[{"max": 5, "rate": 0.1, "unit": unit}, {"rate": 1}]])
    assert unit in refused.value.detail


def test_the_price_is_rate_and_adjustment() -> None:
    """SAM: buy + adj, each 0 where it is missing; REOPT: the same."""
    for tier, price in (({"rate": 0.1, "adj": -0.02}, "0.08"), ({"adj": 0.03}, "0.03"), ({"rate": 0.1}, "0.1")):
        content, _ = _content(energyratestructure=[[tier]])
        (part,) = content.energy
        assert part.rows(None) == {"all": (Decimal(price),)}


def test_week_days_are_monday_to_friday_and_holidays_are_not_in_the_format() -> None:
    """REOPT: dayofweek < 6 goes by the week-day schedule; DOC has no holidays: what we assume of them is told."""
    weekend = [[1] * 24] * 12
    content, left_out = _content(energyratestructure=[[{"rate": 0.1}], [{"rate": 0.2}]], energyweekendschedule=weekend)
    assert content.periods is not None
    days = {day: set(slots_on(content.periods, None, day)) for day in ("work", "critical", "rest", "holiday")}
    assert days == {"work": {"period-0"}, "critical": {"period-0"}, "rest": {"period-1"}, "holiday": {"period-1"}}
    assert any("public holidays go by the week-end" in sentence for sentence in left_out)


@pytest.mark.parametrize("missing", ["energyweekdayschedule", "energyweekendschedule"])
def test_several_periods_need_both_schedules(missing: str) -> None:
    """DOC: a schedule names the period of every hour; with one period there is nothing to name."""
    with pytest.raises(InvalidInput) as refused:
        _content(energyratestructure=[[{"rate": 0.1}], [{"rate": 0.2}]], **{missing: None})
    assert refused.value.field == missing
    content, _ = _content(**{missing: None})
    assert content.periods is None


@pytest.mark.parametrize(
    ("units", "per", "told"),
    [
        ("$/month", "month", False),
        ("$/day", "day", False),
        (None, "month", True),
        ("$/year", None, True),
    ],
)
@pytest.mark.parametrize("name", ["fixedchargefirstmeter", "mincharge"])
def test_what_charges_are_per(name: str, units: str | None, per: str | None, *, told: bool) -> None:
    """DOC: fixedchargeunits and minchargeunits are $/day, $/month or $/year."""
    unit = {"fixedchargefirstmeter": "fixedchargeunits", "mincharge": "minchargeunits"}[name]
    content, left_out = _content(**{name: 9.5, unit: units})
    fixed: list[str] = [part.per for part in content.components if part.kind == "fixed"]
    if name == "mincharge":
        fixed = [content.minimum.per] if content.minimum else []
    assert fixed == ([] if per is None else [per])
    assert any(name in sentence for sentence in left_out) == told


def test_charges_of_the_first_versions_are_by_the_month() -> None:
    """REOPT: fixedmonthlycharge and minmonthlycharge."""
    content, left_out = _content(fixedmonthlycharge=7, minmonthlycharge=12)
    assert left_out == ()
    assert rate_trial(content, Trial(usage="0")).amount == Decimal("12.00")


@pytest.mark.parametrize("unit", ["hp", "kVA", "kW daily", "hp daily", "kVA daily"])
@pytest.mark.parametrize("name", ["flatdemandunit", "demandrateunit"])
def test_loads_in_other_units_than_kilowatts_are_told(name: str, unit: str) -> None:
    """DOC: flatdemandunit and demandrateunit are kW, hp, kVA and each of them daily."""
    loads = {
        "flatdemandunit": {"flatdemandstructure": [[{"rate": 4}]], "flatdemandmonths": [0] * 12},
        "demandrateunit": {
            "demandratestructure": [[{"rate": 4}]], "demandweekdayschedule": FLAT, "demandweekendschedule": FLAT,
        },
    }  # fmt: skip
    content, left_out = _content(**loads[name], **{name: unit})
    assert not content.by_load
    assert len(left_out) == 1
    content, left_out = _content(**loads[name], **{name: "kW"})
    assert content.by_load
    assert left_out == ()


def test_the_unit_of_whom_a_rate_is_for_is_not_that_of_its_charge() -> None:
    """DOC: demandunits are the units of applicability (peakkwcapacitymin), demandrateunit those of the charge."""
    content, left_out = _content(
        demandratestructure=[[{"rate": 4}]], demandweekdayschedule=FLAT, demandweekendschedule=FLAT, demandunits="kVA",
        peakkwcapacitymin=20,
    )  # fmt: skip
    assert content.by_load
    assert left_out == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"flatdemandstructure": [[{"rate": 4}]]},
        {"flatdemandstructure": [[{"rate": 4}]], "flatdemandmonths": [0] * 3},
        {"flatdemandstructure": [[{"rate": 4}]], "flatdemandmonths": [1] * 12},
        {"demandratestructure": [[{"rate": 4}]], "demandweekdayschedule": FLAT},
    ],
)
def test_a_load_charge_without_its_whole_year_is_told(changes: dict[str, Any]) -> None:
    """SAM and REOPT charge no flat demand without 12 months in flatdemandmonths."""
    content, left_out = _content(**changes)
    assert not content.by_load
    assert len(left_out) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fixedchargeeaaddl", 3),
        ("annualmincharge", 100),
        ("fueladjustmentsmonthly", [0.01] * 12),
        ("coincidentratestructure", [[{"rate": 1}]]),
        ("demandreactivepowercharge", 0.3),
        ("demandwindow", 15),
        ("lookbackpercent", 0.5),
        ("dgrules", "Net Metering"),
        ("energyattrs", [{"Rider": "$0.01"}]),
    ],
)
def test_what_the_format_has_and_a_tariff_has_not_is_told_by_name(name: str, value: Any) -> None:
    """DOC lists them; each changes an amount, so none goes by in silence."""
    _, left_out = _content(**{name: value})
    assert [name in sentence for sentence in left_out] == [True]


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    rate, out = tmp_path / "rate.json", tmp_path / "tariff.yaml"
    rate.write_text(json.dumps([_rate(usenetmetering=True)]), "utf-8")
    done = CliRunner().invoke(app, ["import-urdb", str(rate), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "usenetmetering" in done.output
    assert load_yaml(out, TariffContent).tiers.bounds == (Decimal(300),)
    rate.write_text("{", "utf-8")
    assert CliRunner().invoke(app, ["import-urdb", str(rate), "--out", str(out)]).exit_code == 2
