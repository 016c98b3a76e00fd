"""`gatemeter tariffs`: what it prints, and how it refuses."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cloud.tariffs.commands import app

FOLDER = Path(__file__).parents[4] / "firmware-config/tariffs"
SHANGHAI = "shanghai-electricity-peak-valley.yaml"


def _run(command: str, file: str, *options: str) -> Result:
    return CliRunner().invoke(app, [command, str(FOLDER / file), *options])


def test_rates_and_explains_as_json() -> None:
    result = _run("rate", "beijing-electricity.yaml", "--usage", "5760", "--persons", "6", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert (answer["amount"], answer["currency"]) == ("2896.61", "CNY")
    assert [(line["tier"], line["quantity"], line["amount"]) for line in answer["lines"]] == [
        (1, "4080.000", "1992.26"),
        (2, "1680.000", "904.34"),
        (None, None, "0.01"),
    ]


def test_rates_and_explains_for_people() -> None:
    result = _run("rate", SHANGHAI, "--year-to-date", "3000", "--period", "peak=200", "--period", "valley=100")
    assert result.exit_code == 0
    assert "161.90 CNY" in result.stdout
    assert "80 kWh" in result.stdout


INDUSTRIAL = ("--period", "sharp=0", "--period", "peak=1000", "--period", "flat=500", "--period", "valley=300.5")


def test_rates_load_and_power_factor_and_tells_the_tax_in_the_price() -> None:
    load = ("--demand", "55", "--power-factor", "0.87", "--season", "other")
    answer = json.loads(_run("rate", "industrial-electricity.yaml", *INDUSTRIAL, *load, "--json").stdout)
    by_hand = Decimal("1088.80") + Decimal("320.25") + Decimal("80.83") + Decimal("2200.00") + Decimal("55.35")
    assert Decimal(answer["amount"]) == by_hand
    assert answer["lines"][-1]["amount"] == "55.35"
    assert answer["contained_taxes"] == [{"component": "vat", "amount": "430.87"}]


def test_rates_an_area() -> None:
    result = _run("rate", "property-fee.yaml", "--area", "89.50", "--json")
    assert json.loads(result.stdout)["amount"] == "210.33"


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ("beijing-electricity.yaml", (), "--usage: needed"),
        ("beijing-electricity.yaml", ("--usage", "-1"), "--usage: expected 0 or more"),
        ("beijing-electricity.yaml", ("--usage", "1.0001"), "at most 3 decimals"),
        ("beijing-electricity.yaml", ("--usage", "1e3"), "--usage: expected 0 or more"),
        ("beijing-electricity.yaml", ("--usage", "1", "--period", "peak=1"), "no --period"),
        (SHANGHAI, ("--usage", "1"), "--period peak=… --period valley=…"),
        (SHANGHAI, ("--period", "peak=1"), "--period peak=… --period valley=…"),
        ("property-fee.yaml", ("--usage", "1"), "property is not metered"),
        (
            "beijing-water.yaml",
            ("--usage", "1", "--season", "dry"),
            "--season: expected none: this tariff has no seasons",
        ),
        ("industrial-electricity.yaml", (*INDUSTRIAL, "--season", "dry"), "--season: expected one of summer, other"),
        ("industrial-electricity.yaml", (*INDUSTRIAL, "--power-factor", "1.2"), "--power-factor: expected 0 to 1"),
        ("beijing-water.yaml", ("--usage", "1", "--single"), "--single: this tariff has no prices without tiers"),
        ("none.yaml", ("--usage", "1"), "a readable file, found none"),
    ],
)
def test_bad_input_is_exit_2_and_a_sentence(file: str, options: tuple[str, ...], message: str) -> None:
    result = _run("rate", file, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_checks_files(tmp_path: Path) -> None:
    assert _run("check", "beijing-water.yaml").exit_code == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text("currency: CNY\nservice: water\n", "utf-8")
    result = _run("check", str(bad))
    assert result.exit_code == 2
    assert "components: this is missing" in result.stderr
