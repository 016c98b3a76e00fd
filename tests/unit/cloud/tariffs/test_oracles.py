"""The published examples, rated by the tariff files that ship with the product."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.columns import Usages
from cloud.tariffs.explain import total
from cloud.tariffs.hours import ALL
from cloud.tariffs.models import TariffContent
from cloud.tariffs.plan import plan
from cloud.tariffs.rating import rate_batch

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


def _sum_of_months(content: TariffContent, case: dict[str, Any]) -> Decimal:
    month = _base(content, case["monthly_usage"])
    count = case["months"]
    rated = rate_batch(
        plan(content), Usages(quantity=[[month] * count], before=[n * month for n in range(count)]), count
    )
    return sum((total(rated, n) for n in range(count)), Decimal(0))
