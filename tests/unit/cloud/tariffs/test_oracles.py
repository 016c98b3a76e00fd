"""The published examples, rated by the tariff files that ship with the product."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.model.hours import ALL
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import total
from cloud.tariffs.rating.plan import plan

ROOT = Path(__file__).parents[4]
ORACLES: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/oracles/tariffs.yaml").read_text("utf-8"))
FILES = {
    "Beijing residential electricity, settled over the year": "beijing-electricity",
    "Beijing residential water, settled over the year": "beijing-water",
    "Zhejiang residential electricity, settled over the year": "zhejiang-electricity",
    "Zhejiang residential electricity, peak and valley": "zhejiang-electricity-peak-valley",
    "Shanghai residential electricity, allocation matters": "shanghai-electricity-peak-valley",
    "Volume mode with a flat part": "volume-with-flat-part",
}
CASES = [pytest.param(oracle, case, id=f"{oracle['name']}: {case}") for oracle in ORACLES for case in oracle["cases"]]


def _content(oracle: dict[str, Any], case: dict[str, Any]) -> TariffContent:
    content = load_yaml(ROOT / "firmware-config/tariffs" / f"{FILES[oracle['name']]}.yaml", TariffContent)
    if "allocation" not in case:
        return content
    method, _, order = case["allocation"].rstrip(")").partition("(")
    allocation = {"method": method, "order": order.split(", ") if order else []}
    document = content.model_dump(mode="json")
    document["periods"]["allocation"] = allocation
    return TariffContent.model_validate(document)


def _base(content: TariffContent, quantity: object) -> int:
    return int(Decimal(str(quantity)).scaleb(plan(content).exponent))


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle["name"])
def test_the_file_says_what_the_example_says(oracle: dict[str, Any]) -> None:
    content = _content(oracle, {})
    assert [int(bound) for bound in content.tiers.bounds] == oracle["tiers"].get("bounds", [])
    assert content.tiers.mode == oracle["tiers"]["mode"]
    assert content.tiers.window.kind == oracle["tiers"].get("window", "bill")
    assert content.unit == oracle["unit"].replace("call", "piece")
    matrix = oracle.get("matrix") or {ALL: oracle.get("prices") or [case["price"] for case in oracle["cases"]]}
    for period, prices in matrix.items():
        rows = [part.rows(None)[period] for part in content.energy]
        together = [sum(tier, Decimal(0)) for tier in zip(*rows, strict=True)]
        assert together[: len(prices)] == [Decimal(price) for price in prices]


@pytest.mark.parametrize(("oracle", "case"), CASES)
def test_published_amounts(oracle: dict[str, Any], case: dict[str, Any]) -> None:
    content = _content(oracle, case)
    if "monthly_usage" in case:
        amount = _sum_of_months(content, case)
    else:
        usage = [_base(content, case["usage" if code == ALL else code]) for code in content.period_codes]
        before = _base(content, case.get("year_to_date", 0))
        steps = [plan(content).household_steps(case.get("persons", 0))]
        usages = Usages(quantity=[[q] for q in usage], before=[before], steps=steps)
        amount = total(rate_batch(plan(content), usages, 1), 0)
    assert amount == Decimal(case.get("amount") or case["amount_sum"])


_KEYS = {
    "tiers": {"mode", "window", "bounds"},
    "household": {
        "from_persons", "widen_each_tier_by_per_month", "widen_each_tier_by_per_extra_person_per_year", "note",
    },
    "components_tier1": {"water", "resource_fee", "sewage", "note"},
    "cases": {
        "usage", "persons", "amount", "monthly_usage", "months", "amount_sum", "year_to_date", "peak", "valley",
        "allocation", "price", "flat", "note",
    },
}  # fmt: skip
_PLAIN = {"name", "unit", "prices", "matrix", "matrix_note", "source"}


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle["name"])
def test_no_number_of_an_example_is_passed_over(oracle: dict[str, Any]) -> None:
    """What the tests here know to compare; another key in the file needs a test first."""
    assert set(oracle) <= {*_KEYS, *_PLAIN}
    for name, keys in _KEYS.items():
        for part in oracle[name] if name == "cases" else [oracle.get(name, {})]:
            assert set(part) <= keys


@pytest.mark.parametrize("oracle", [one for one in ORACLES if "household" in one], ids=lambda one: one["name"])
def test_the_household_rule_is_that_of_the_example(oracle: dict[str, Any]) -> None:
    told, rule = oracle["household"], _content(oracle, {}).household
    assert rule is not None
    assert rule.from_persons == told["from_persons"] == 6
    assert rule.tiers == tuple(range(1, len(oracle["tiers"]["bounds"]) + 1))[: len(rule.tiers)]
    by_month = told.get("widen_each_tier_by_per_month")
    if by_month is not None:
        assert (rule.raise_bounds_by, rule.per, rule.each) == (Decimal(by_month), "month", "household")
    else:
        by_person = told["widen_each_tier_by_per_extra_person_per_year"]
        assert (rule.raise_bounds_by, rule.per, rule.each) == (Decimal(by_person), "year", "extra_person")


@pytest.mark.parametrize(
    ("name", "persons", "bounds"),
    [
        ("Beijing residential electricity, settled over the year", 5, ("2880", "4800")),
        ("Beijing residential electricity, settled over the year", 6, ("4080", "6000")),
        ("Beijing residential electricity, settled over the year", 7, ("4080", "6000")),
        ("Beijing residential water, settled over the year", 5, ("180", "260")),
        ("Beijing residential water, settled over the year", 6, ("210", "290")),
        ("Beijing residential water, settled over the year", 7, ("240", "320")),
    ],
)
def test_how_wide_the_tiers_of_a_household_are(name: str, persons: int, bounds: tuple[str, ...]) -> None:
    content = _content(next(one for one in ORACLES if one["name"] == name), {})
    prepared = plan(content)
    found = prepared.bounds_for(prepared.household_steps(persons), 1, 1)
    assert tuple(found) == tuple(_base(content, bound) for bound in bounds)


def test_only_the_water_component_moves_with_the_tier() -> None:
    oracle = next(one for one in ORACLES if "components_tier1" in one)
    wanted = {code: Decimal(price) for code, price in oracle["components_tier1"].items() if code != "note"}
    rows = {part.code: part.rows(None)[ALL] for part in _content(oracle, {}).energy}
    assert {code: row[0] for code, row in rows.items()} == wanted
    assert rows.pop("water") == (Decimal("2.07"), Decimal("4.07"), Decimal("6.07"))
    assert all(len(set(row)) == 1 for row in rows.values())


def test_published_round_amounts() -> None:
    oracle = ORACLES[0]
    assert [round(Decimal(case["amount"])) for case in oracle["cases"]] == [3197, 2897]


@pytest.mark.parametrize("allocation", ["proportional", "priority(peak, valley)", "priority(valley, peak)"])
def test_where_both_periods_are_lifted_equally_the_order_makes_no_difference(allocation: str) -> None:
    oracle = next(one for one in ORACLES if one["name"].startswith("Zhejiang residential electricity, peak"))
    for case in oracle["cases"]:
        test_published_amounts(oracle, case | {"allocation": allocation})


def test_months_rounded_by_themselves_do_not_add_up_to_the_year() -> None:
    oracle = next(one for one in ORACLES if one["name"] == "Zhejiang residential electricity, settled over the year")
    case = next(case for case in oracle["cases"] if "monthly_usage" in case)
    document = _content(oracle, {}).model_dump(mode="json")
    document["rounding"] = {"level": "bill", "cumulative": False}
    assert _sum_of_months(TariffContent.model_validate(document), case) == Decimal("3693.33")
    year, bounds = Decimal(case["monthly_usage"]) * case["months"], [Decimal(bound) for bound in (0, 2760, 4800)]
    tiers = [min(year, upper) - lower for lower, upper in zip(bounds, [*bounds[1:], year], strict=True)]
    exact = sum(Decimal(price) * used for price, used in zip(oracle["prices"], tiers, strict=True))
    assert exact == Decimal("3693.31848")


def test_the_second_tier_lifts_peak_and_valley_differently() -> None:
    oracle = next(one for one in ORACLES if one["name"].startswith("Shanghai"))
    lifts = {code: Decimal(row[1]) - Decimal(row[0]) for code, row in oracle["matrix"].items()}
    assert lifts == {"peak": Decimal("0.06"), "valley": Decimal("0.03")}


def test_the_flat_part_of_a_volume_tier_is_that_of_the_example() -> None:
    oracle = next(one for one in ORACLES if one["tiers"]["mode"] == "volume")
    (part,) = _content(oracle, {}).energy
    (case,) = oracle["cases"]
    assert part.flat == (Decimal(case["flat"]),)


def _sum_of_months(content: TariffContent, case: dict[str, Any]) -> Decimal:
    month = _base(content, case["monthly_usage"])
    count = case["months"]
    rated = rate_batch(
        plan(content), Usages(quantity=[[month] * count], before=[n * month for n in range(count)]), count
    )
    return sum((total(rated, n) for n in range(count)), Decimal(0))
