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
from cloud.tariffs.checking import check
from cloud.tariffs.commands import app
from cloud.tariffs.draft_yaml import from_yaml, to_yaml
from cloud.tariffs.hours import slots_on
from cloud.tariffs.models import TariffContent
from cloud.tariffs.trial import Trial, rate_trial
from cloud.tariffs.urdb import import_urdb, read_urdb

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


def test_the_command_writes_a_file(tmp_path: Path) -> None:
    rate, out = tmp_path / "rate.json", tmp_path / "tariff.yaml"
    rate.write_text(json.dumps([_rate(usenetmetering=True)]), "utf-8")
    done = CliRunner().invoke(app, ["import-urdb", str(rate), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "usenetmetering" in done.output
    assert load_yaml(out, TariffContent).tiers.bounds == (Decimal(300),)
    rate.write_text("{", "utf-8")
    assert CliRunner().invoke(app, ["import-urdb", str(rate), "--out", str(out)]).exit_code == 2
