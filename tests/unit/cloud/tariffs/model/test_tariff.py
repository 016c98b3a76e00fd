"""What a tariff may not say, and how it is told so; the files and the schema that ship."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cloud.kit.periods import Period
from cloud.kit.yaml_files import InvalidFile, load_yaml
from cloud.tariffs.files.schema import tariff_schema
from cloud.tariffs.model.tariff import TariffContent, content_hash
from cloud.tariffs.model.tiers import Window
from tests.unit.cloud.tariffs import reference

FOLDER = Path(__file__).parents[5] / "firmware-config"


def _document(**changes: Any) -> dict[str, Any]:
    given = {
        "currency": "CNY",
        "service": "electricity",
        "unit": "kWh",
        "tiers": {"bounds": [240, 400], "window": {"kind": "year"}},
        "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "0.6", "0.8"]}}],
    }
    return given | changes


def _prices(**prices: Any) -> list[dict[str, Any]]:
    return [{"kind": "energy", "code": "energy", "prices": prices}]


def _tax(**changes: Any) -> dict[str, Any]:
    return {"kind": "tax", "code": "vat", "percent": "13"} | changes


def _power_factor(*steps: str) -> dict[str, Any]:
    return {"kind": "power_factor", "code": "pf", "steps": [{"at_least": step, "percent": "1"} for step in steps]}


SURCHARGE = {"kind": "surcharge", "code": "surcharge", "percent": "5"}
THREE = ["1", "2", "3"]
TWO_PERIODS = {"codes": ["peak", "valley"], "allocation": {"method": "proportional"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "Extra inputs are not permitted"),
        ({"components": _prices(all=["0.5", "0.6"])}, "energy.prices.all: 3 prices, one per tier, found 2"),
        ({"components": _prices(peak=THREE)}, "a row for each of all and no other"),
        ({"periods": TWO_PERIODS, "components": _prices(peak=THREE)}, "a row for each of peak, valley"),
        ({"components": _prices(all=[0.5, "1", "2"])}, "with at most 8 decimals, in quotes"),
        ({"components": _prices(all=["-1", "1", "2"])}, "a price of 0 or more"),
        ({"components": _prices(all=["1e2", "1", "2"])}, "a price of 0 or more"),
        ({"components": _prices(all=["0.123456789", "1", "2"])}, "at most 8 decimals"),
        ({"components": _prices(all=["1\n", "1", "2"])}, "a price of 0 or more"),
        ({"components": _prices(all=THREE) * 2}, "each code once"),
        ({"components": []}, "at least 1 item"),
        ({"unit": None}, "unit: needed with energy components"),
        ({"components": [{"kind": "fixed", "code": "f", "per": "day", "price": "1"}]}, "unit: needed with energy"),
        (
            {"unit": None, "components": [{"kind": "fixed", "code": "f", "per": "day", "price": "1"}]},
            "tiers, household, seasons and periods need an energy component",
        ),
        ({"tiers": {"bounds": [400, 240]}}, "each higher than the one before"),
        ({"tiers": {"bounds": [240, 240]}}, "each higher than the one before"),
        ({"tiers": {"bounds": [0, 240]}}, "upper bounds above 0"),
        ({"tiers": {"bounds": [240, "400.0005"]}}, "at most 3 decimals of kWh, found 400.0005"),
        ({"tiers": {"mode": "package", "bounds": [240, 400]}}, "package: the size of a package in package mode"),
        ({"tiers": {"bounds": [240, 400], "package": 5}}, "package: the size of a package in package mode"),
        ({"tiers": {"mode": "package", "bounds": [240, 400], "package": 0}}, "package: more than 0 units"),
        ({"tiers": {"mode": "volume", "bounds": [240, 400], "window": {"kind": "year"}}}, "window must be bill"),
        ({"tiers": {"bounds": [240, 400], "window": {"kind": "year", "anchor": "02-29"}}}, "a day MM-DD that exists"),
        (
            {"periods": {"codes": ["peak", "valley"], "allocation": {"method": "chronological"}}},
            "chronological needs a schedule",
        ),
        (
            {"periods": {"codes": ["peak", "valley"], "allocation": {"method": "priority", "order": ["peak"]}}},
            "each of peak, valley once",
        ),
        (
            {"periods": {"codes": ["a", "b"], "allocation": {"method": "proportional", "order": ["a", "b"]}}},
            "only with the method priority",
        ),
        ({"periods": {"codes": ["peak", "peak"], "allocation": {"method": "proportional"}}}, "different names"),
        ({"rounding": {"level": "line", "cumulative": True}}, "cumulative rounding needs the level bill"),
        (
            {
                "tiers": {"bounds": [240, 400]},
                "household": {"from_persons": 5, "raise_bounds_by": 100, "per": "month"},
            },
            "does not fit the tier window bill",
        ),
        ({"currency": "yuan"}, "String should match pattern"),
        (
            {"components": [*_prices(all=THREE), _tax(), SURCHARGE]},
            "first what has a price, then percentages, then taxes",
        ),
        ({"components": [SURCHARGE, *_prices(all=THREE)]}, "surcharge.of: components before it, found –"),
        ({"components": [*_prices(all=THREE), SURCHARGE | {"of": ["water"]}]}, "components before it, found water"),
        ({"components": [*_prices(all=THREE), _tax(percent="-1")]}, "a tax of 0 percent or more, found -1"),
        ({"components": [*_prices(all=THREE), _tax(percent="13%")]}, "a percentage with at most 4 decimals"),
        ({"components": [*_prices(all=THREE), _power_factor("0.9", "0.95")]}, 'down to "0.00", each once'),
        ({"components": [*_prices(all=THREE), _power_factor("0.95", "0.9")]}, 'down to "0.00", each once'),
        ({"components": [*_prices(all=THREE), _power_factor("1.2", "0")]}, 'from "0.00" to "1.00" in hundredths'),
        ({"components": [_prices(all=THREE)[0] | {"factor": "0"}]}, "a factor above 0"),
        ({"components": [_prices(all=THREE)[0] | {"single": {"peak": "1"}}]}, "energy.single: a row for each of all"),
        (
            {
                "components": [
                    _prices(all=THREE)[0] | {"single": {"all": "1"}},
                    _prices(all=THREE)[0] | {"code": "other"},
                ]
            },
            "components: prices without tiers for every energy component or for none",
        ),
        ({"components": [{"kind": "energy", "code": "energy"}]}, "energy: either prices or"),
        ({"tiers": {"bounds": [240, 400], "free": 0}}, "free: more than 0 units"),
        ({"tiers": {"bounds": [240, 400], "mode": "volume", "free": 5}}, "only in graduated mode"),
        ({"tiers": {"bounds": [240, 400], "window": {"kind": "bill", "partial": "by_day"}}}, "never partial"),
        ({"minimum": {"amount": "1.005"}}, "minimum.amount: at most 2 decimals of CNY"),
        ({"minimum": {"amount": "10"}, "cap": {"amount": "9"}}, "cap: not below the minimum"),
        (
            {"household": {"from_persons": 5, "raise_bounds_by": 100, "per": "month", "tiers": [3]}},
            "household.tiers: tiers with a bound, 1 to 2",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        TariffContent.model_validate(_document(**changes))
    assert message in str(error.value)


def test_flat_parts_belong_to_volume_mode() -> None:
    part = {"kind": "energy", "code": "energy", "prices": {"all": THREE}, "flat": THREE}
    with pytest.raises(ValidationError, match="only in volume mode"):
        TariffContent.model_validate(_document(components=[part]))


def test_stored_and_read_again_it_is_the_same() -> None:
    content = TariffContent.model_validate(_document())
    again = TariffContent.model_validate(content.model_dump(mode="json"))
    assert again == content
    assert content_hash(again) == content_hash(content)
    dearer = TariffContent.model_validate(_document(components=_prices(all=["0.5", "0.6", "0.9"])))
    assert content_hash(dearer) != content_hash(content)


@pytest.mark.parametrize("file", sorted((FOLDER / "tariffs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_that_ships_is_valid_and_says_where_its_prices_are_from(file: Path) -> None:
    content = load_yaml(file, TariffContent)
    assert content.source or content.service == "property"
    assert len(reference.tier_bounds(content, reference.Account(usage={}))) == len(content.tiers.bounds) + 1


def test_the_schema_that_ships_is_current() -> None:
    assert (FOLDER / "schema/tariff.schema.json").read_text("utf-8") == tariff_schema()


def test_a_file_is_told_line_and_key(tmp_path: Path) -> None:
    text = (FOLDER / "tariffs/beijing-electricity.yaml").read_text("utf-8")
    file = tmp_path / "t.yaml"
    file.write_text(text.replace('"0.5383"', "0.5383"), "utf-8")
    line = next(n for n, row in enumerate(text.splitlines(), start=1) if "0.5383" in row)
    with pytest.raises(InvalidFile) as error:
        load_yaml(file, TariffContent)
    assert f"t.yaml:{line}: components[0].energy.prices.all[1]: a price of 0 or more" in str(error.value)


def test_windows_begin_on_their_anchor() -> None:
    april = Period(date(2026, 4, 1), date(2026, 5, 1))
    assert str(Window(kind="year", anchor="05-01").around(april)) == "2025-05-01/2026-05-01"
    assert str(Window(kind="month").around(april)) == "2026-04-01/2026-05-01"
    assert Window().around(april) == april
