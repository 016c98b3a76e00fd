"""What a bill says of itself is enough to work it out again, for any usage under every kind of tariff."""

from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.explanation import sentences
from cloud.billing.explanation.explaining import Explained, explain_bill
from cloud.billing.explanation.models import ExplanationOut
from cloud.billing.records import Bill, BillLine, BillRow, Charge
from cloud.kit.periods import Period
from cloud.kit.yaml_files import load_yaml
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import contained_taxes, exact, explain, total
from cloud.tariffs.rating.plan import plan
from cloud.tariffs.service import TariffVersion
from tests.unit.cloud.billing.by_hand import add_up

_FILES = Path(__file__).parents[5] / "firmware-config/tariffs"
_PERIOD = Period(date(2026, 7, 1), date(2026, 8, 1))
_WINDOW = Period(date(2026, 1, 1), date(2027, 1, 1))
_AT = datetime(2026, 7, 1, tzinfo=UTC)


def _tariff(**changes: Any) -> TariffContent:
    energy = {"kind": "energy", "code": "energy", "prices": {"all": ["0.4883", "0.5383", "0.7883"]}}
    return TariffContent.model_validate(
        {"currency": "CNY", "service": "electricity", "unit": "kWh", "components": [energy]} | changes
    )


def _energy(*prices: str, **more: Any) -> dict[str, Any]:
    return {"kind": "energy", "code": "energy", "prices": {"all": prices}, **more}


CONTENTS = {
    **{path.stem: load_yaml(path, TariffContent) for path in sorted(_FILES.glob("*.yaml"))},
    "free": _tariff(
        tiers={"bounds": [240, 400], "free": "15", "window": {"kind": "year", "partial": "by_month"}},
        household={"from_persons": 5, "raise_bounds_by": 30, "per": "month", "each": "extra_person", "tiers": [1, 2]},
    ),
    "package": _tariff(
        tiers={"mode": "package", "package": "50", "bounds": [200], "window": {"kind": "year"}},
        components=[_energy("10.333", "12.666"), {"kind": "surcharge", "code": "fund", "percent": "7.3"}],
        rounding={"level": "line"},
    ),
    "sewage": _tariff(
        tiers={"bounds": [100, 200], "window": {"kind": "year"}},
        components=[
            _energy("1.11", "2.22", "3.33"),
            {"kind": "energy", "code": "sewage", "factor": "0.9", "prices": {"all": ["0.77", "0.77", "0.99"]}},
            {"kind": "fixed", "code": "basic", "per": "day", "price": "0.123"},
            {"kind": "tax", "code": "vat", "percent": "9"},
        ],
        minimum={"amount": "5.00"},
        cap={"amount": "900.00"},
        rounding={"level": "component"},
    ),
    "three-tier volume": _tariff(tiers={"mode": "volume", "bounds": [100, 500]}),
}

facts = st.fixed_dictionaries(
    {
        "parts": st.lists(st.integers(0, 900_000), min_size=4, max_size=4),
        "before": st.sampled_from([0, 1, 239_999, 240_000, 2_879_999, 2_880_000]) | st.integers(0, 6_000_000),
        "persons": st.integers(0, 9),
        "covered": st.integers(1, 12),
        "single": st.booleans(),
        "area": st.integers(1, 90_000),
        "demand_w": st.integers(1, 900_000),
        "power_factor": st.integers(0, 100),
        "carry": st.integers(0, 9_999),
    }
)


def _bill(content: TariffContent, given_facts: dict[str, Any]) -> tuple[Bill, TariffVersion]:
    """One charge as `drafting` writes it: rated by the engine, with the inputs that a bill keeps."""
    season = content.season_on(_PERIOD.start)
    prepared = plan(content, season, 4)
    window = content.tiers.window
    before = given_facts["before"] if window.kind == "year" else 0
    covered, whole = (given_facts["covered"], 12) if window.partial == "by_month" else (1, 1)
    steps = prepared.household_steps(given_facts["persons"]) * covered
    codes = content.period_codes if content.energy else ()
    parts = given_facts["parts"][: len(codes)]
    carry = Decimal(given_facts["carry"]).scaleb(-6) if content.rounding.cumulative else Decimal(0)
    usages = Usages(
        quantity=[[part] for part in parts],
        before=[before],
        steps=[steps],
        covered=[covered],
        whole=[whole],
        single=[int(given_facts["single"])],
        area=[given_facts["area"]],
        demand=[given_facts["demand_w"]],
        power_factor=[given_facts["power_factor"]],
        days=[_PERIOD.days],
        months=[10**6],
        begun=[10**6],
        carry=[int(carry.scaleb(prepared.places))],
    )
    rated = rate_batch(prepared, usages, 1)
    used = sum(parts)
    inputs: dict[str, Any] = {
        "agreement": 1,
        "period": str(_PERIOD),
        "tier_window": str(_WINDOW if window.kind == "year" else _PERIOD),
        "window_parts": {"steps": steps, "covered": covered, "whole": whole},
        "persons": given_facts["persons"],
        "basis": {name: given_facts[name] for name in ("demand_w", "power_factor")}
        | {"area": str(Decimal(given_facts["area"]).scaleb(-2))},
        "single": given_facts["single"] and any(slot.single for slot in prepared.slots),
        "carry": str(carry),
        "contained_taxes": [
            {name: value if name == "of" else str(value) for name, value in asdict(tax).items()}
            for tax in contained_taxes(rated, 0)
        ],
    }
    if content.energy:
        inputs |= {"quantity": used, "used_before": before, "multiplier": "1"}
    if content.periods is not None:
        inputs["runs"] = [[code, part] for code, part in zip(codes, parts, strict=True)]
    if season is not None:
        inputs["season"] = season
    lines = tuple(
        BillLine(n, service=content.service, detail={}, charge_id=1, **asdict(line))
        for n, line in enumerate(explain(rated, 0), 1)
    )
    amount = total(rated, 0)
    charge = Charge(1, 1, content.service, _PERIOD, 1, None, None, None, None, None, None, None, amount, lines)
    if content.energy:
        ends = {"opening_value": 1000, "closing_value": 1000 + used, "quantity": used}
        charge = replace(charge, meter_id=1, channel=1, opening_at=_AT, closing_at=_AT, **ends)
    nothing = Decimal(0)
    summary = BillRow(
        1, 1, 1, "2026-1", _PERIOD, content.currency, amount, nothing, nothing, nothing, None, None, "issued", None
    )
    assert exact(rated, 0) >= 0
    return Bill(summary, (charge,), None, "1", {"charges": [inputs]}), TariffVersion(
        1, 1, 1, date(2026, 1, 1), None, content, ""
    )


def _told(content: TariffContent, given_facts: dict[str, Any]) -> tuple[Bill, Explained]:
    bill, version = _bill(content, given_facts)
    (explained,) = explain_bill(bill, {1: version})
    return bill, explained


@pytest.mark.parametrize("name", CONTENTS)
@given(given_facts=facts)
def test_every_line_can_be_worked_out_by_hand(name: str, given_facts: dict[str, Any]) -> None:
    bill, explained = _told(CONTENTS[name], given_facts)
    add_up(ExplanationOut.of(bill, (explained,)).model_dump(mode="json"))
    assert all(sentences.sentences(explained, bill.summary.currency))


def test_a_wrong_amount_is_noticed() -> None:
    given_facts = dict.fromkeys(("before", "persons", "area", "demand_w", "power_factor", "carry"), 0)
    bill, explained = _told(
        CONTENTS["beijing-electricity"], {**given_facts, "parts": [100_000], "covered": 1, "single": False}
    )
    document = ExplanationOut.of(bill, (explained,)).model_dump(mode="json")
    add_up(document)
    document["bill"]["charges"][0]["lines"][0]["amount"]["amount"] = "48.84"
    with pytest.raises(AssertionError):
        add_up(document)


def test_sentences_name_window_household_and_carry() -> None:
    given_facts = {
        "parts": [500_000], "before": 2_700_000, "persons": 6, "covered": 1, "single": False, "area": 0, "demand_w": 0,
        "power_factor": 0, "carry": 1_234,
    }  # fmt: skip
    _, explained = _told(CONTENTS["beijing-electricity"], given_facts)
    assert sentences.sentences(explained, "CNY") == [
        "Tariff version 1, in force since Jan 1, 2026",
        "Difference of the readings: 500 kWh",
        "Tier 1 up to 4,080 kWh: 2,700 before, 500 now",
        "Tier 2 up to 6,000 kWh: 0 before, 0 now",
        "Tier 3 above 6,000 kWh: 0 before, 0 now",
        "Tiers fill over Jan 1, 2026 – Dec 31, 2026: 2,700 kWh used before, 3,200 kWh with this bill",
        "Filed for 6 persons: tier 1 wider by 1 × 100 kWh a month",
        "Rounded so that the bills of the tier window add up to its exact amount "
        "(0.001234 carried over from earlier bills)",
    ]
