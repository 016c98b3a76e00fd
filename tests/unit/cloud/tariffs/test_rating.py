"""The vectorised engine equals the Decimal reference on every account, and its lines add up."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud.tariffs.explain import exact, explain, total
from cloud.tariffs.models import UNIT_EXPONENTS, TariffContent
from cloud.tariffs.plan import plan
from cloud.tariffs.rating import Usages, rate_batch
from tests.unit.cloud.tariffs import reference
from tests.unit.cloud.tariffs.reference import Account

PRICES = st.builds(lambda n, places: str(Decimal(n).scaleb(-places)), st.integers(0, 3 * 10**6), st.integers(0, 6)).map(
    lambda text: format(Decimal(text), "f")
)


@st.composite
def tariffs(draw: st.DrawFn) -> TariffContent:
    """Any tariff that the model allows, small enough to hit its bounds often."""
    unit = draw(st.sampled_from(["kWh", "m3", "piece"]))
    mode = draw(st.sampled_from(["graduated", "graduated", "volume"]))
    bounds = sorted(draw(st.sets(st.integers(1, 400), max_size=3)))
    window = "bill" if mode == "volume" else draw(st.sampled_from(["bill", "month", "year"]))
    codes = draw(st.sampled_from([["all"], ["peak", "valley"], ["peak", "flat", "valley"]]))
    row = st.lists(PRICES, min_size=len(bounds) + 1, max_size=len(bounds) + 1)
    energy = [
        {
            "kind": "energy",
            "code": f"energy{number}",
            "prices": {code: draw(row) for code in codes},
            "flat": draw(st.none() | row) if mode == "volume" else None,
        }
        for number in range(draw(st.integers(1, 2)))
    ]
    others = draw(
        st.lists(
            st.sampled_from(
                [
                    {"kind": "fixed", "code": "daily", "per": "day", "price": "0.3335"},
                    {"kind": "fixed", "code": "monthly", "per": "month", "price": "7.125"},
                    {"kind": "area", "code": "by_area", "price": "2.355"},
                ]
            ),
            max_size=2,
            unique_by=lambda part: part["code"],
        )
    )
    periods = None
    if len(codes) > 1:
        method = draw(st.sampled_from(["proportional", "priority"]))
        order = draw(st.permutations(codes)) if method == "priority" else []
        periods = {"codes": codes, "allocation": {"method": method, "order": order}}
    household = None
    if window != "bill":
        per = draw(st.sampled_from(["month", "year"])) if window == "year" else "month"
        each = draw(st.sampled_from(["household", "extra_person"]))
        household = {"from_persons": 5, "raise_bounds_by": draw(st.integers(0, 9)), "per": per, "each": each}
    level = draw(st.sampled_from(["line", "component", "bill"]))
    return TariffContent.model_validate(
        {
            "currency": draw(st.sampled_from(["CNY", "JPY", "KWD"])),
            "service": "test",
            "unit": unit,
            "components": [*energy, *others],
            "tiers": {"mode": mode, "bounds": bounds, "window": {"kind": window}},
            "household": household,
            "periods": periods,
            "rounding": {"level": level, "cumulative": level == "bill" and draw(st.booleans())},
        }
    )


@st.composite
def accounts_of(draw: st.DrawFn, content: TariffContent) -> list[Account]:
    """Accounts whose usage falls on, just below and just above the bounds more often than chance would have it."""
    base = Decimal(1).scaleb(-UNIT_EXPONENTS[content.unit or ""])
    near = [bound + step * base for bound in content.tiers.bounds for step in (-1, 0, 1)] or [Decimal(1)]
    anywhere = st.integers(0, 700 * 10 ** UNIT_EXPONENTS[content.unit or ""]).map(lambda n: n * base)
    quantity = st.one_of(anywhere, st.sampled_from(near), st.just(Decimal(0)), st.just(base))
    return draw(
        st.lists(
            st.builds(
                Account,
                usage=st.fixed_dictionaries(dict.fromkeys(content.period_codes, quantity)),
                before=quantity,
                persons=st.integers(0, 9),
                area=st.integers(0, 20000).map(lambda n: Decimal(n).scaleb(-2)),
                days=st.integers(0, 31),
                months=st.integers(0, 3),
            ),
            min_size=1,
            max_size=6,
        )
    )


def usages_of(content: TariffContent, accounts: list[Account]) -> Usages:
    """The accounts as the engine takes them."""
    exponent = UNIT_EXPONENTS[content.unit or ""]
    return Usages(
        quantity=[[int(account.usage[code].scaleb(exponent)) for account in accounts] for code in content.period_codes],
        before=[int(account.before.scaleb(exponent)) for account in accounts],
        persons=[account.persons for account in accounts],
        area=[int(account.area.scaleb(2)) for account in accounts],
        days=[account.days for account in accounts],
        months=[account.months for account in accounts],
    )


def assert_equal_to_reference(content: TariffContent, accounts: list[Account]) -> None:
    rated = rate_batch(plan(content), usages_of(content, accounts), len(accounts))
    for index, account in enumerate(accounts):
        expected = reference.rate(content, account)
        assert total(rated, index) == expected.total
        assert exact(rated, index) == expected.exact
        lines = explain(rated, index)
        assert sum((line.amount for line in lines), Decimal(0)) == expected.total
        found = [(line.component, line.quantity) for line in lines if line.kind != "rounding"]
        assert sorted(found) == sorted((component, quantity) for component, _, _, quantity, _ in expected.lines)


@given(st.data())
def test_equals_the_decimal_reference_on_every_account(data: st.DataObject) -> None:
    content = data.draw(tariffs())
    assert_equal_to_reference(content, data.draw(accounts_of(content)))


def _tariff(**changes: object) -> TariffContent:
    given = {
        "currency": "CNY",
        "service": "electricity",
        "unit": "kWh",
        "tiers": {"bounds": [240], "window": {"kind": "year"}},
        "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "0.7"]}}],
    }
    return TariffContent.model_validate(given | changes)


@pytest.mark.parametrize(
    ("watt_hours", "tier1", "tier2"), [(239_999, 239_999, 0), (240_000, 240_000, 0), (240_001, 240_000, 1)]
)
def test_a_bound_belongs_to_the_lower_tier(watt_hours: int, tier1: int, tier2: int) -> None:
    rated = rate_batch(plan(_tariff()), Usages(quantity=[[watt_hours]]), 1)
    assert rated.quantities.tolist() == [[tier1, tier2]]


@settings(max_examples=30, deadline=None)
@given(st.integers(2**55, 2**80), st.integers(0, 2**80))
@example(2**63, 0)
def test_more_than_int64_holds_is_rated_with_python_integers(usage: int, before: int) -> None:
    content = _tariff()
    account = Account(usage={"all": Decimal(usage).scaleb(-3)}, before=Decimal(before).scaleb(-3))
    assert_equal_to_reference(content, [account, Account(usage={"all": Decimal("1.5")})])
    assert rate_batch(plan(content), usages_of(content, [account]), 1).totals.dtype == object


def test_usual_amounts_stay_in_int64() -> None:
    quantity = np.arange(1_000_000, dtype=np.int64)
    rated = rate_batch(plan(_tariff()), Usages(quantity=[quantity], before=quantity), len(quantity))
    assert rated.totals.dtype == np.int64
    assert rated.totals[100_000] == 5000


def test_shares_of_periods_keep_both_margins() -> None:
    content = _tariff(
        periods={"codes": ["peak", "valley"], "allocation": {"method": "proportional"}},
        components=[
            {"kind": "energy", "code": "energy", "prices": {"peak": ["0.617", "0.677"], "valley": ["0.307", "0.337"]}}
        ],
    )
    rated = rate_batch(plan(content), Usages(quantity=[[100_001], [200_003]], before=[100_000]), 1)
    peak1, peak2, valley1, valley2 = rated.quantities[0].tolist()
    assert (peak1 + peak2, valley1 + valley2) == (100_001, 200_003)
    assert peak1 + valley1 == 140_000


def test_twelve_cumulative_bills_are_the_bill_of_the_year() -> None:
    content = _tariff(rounding={"level": "bill", "cumulative": True})
    usage = [33_333 + 7 * month for month in range(12)]
    before = [sum(usage[:month]) for month in range(12)]
    monthly = rate_batch(plan(content), Usages(quantity=[usage], before=before), 12)
    yearly = rate_batch(plan(content), Usages(quantity=[[sum(usage)]]), 1)
    assert monthly.totals.sum() == yearly.totals[0]
    carried, exact_so_far = [], 0
    for month in range(12):
        one = rate_batch(
            plan(content), Usages(quantity=[[usage[month]]], before=[before[month]], carry=[exact_so_far]), 1
        )
        carried.append(int(one.totals[0]))
        exact_so_far += int(one.exact[0])
    assert carried == monthly.totals.tolist()


def test_refuses_what_does_not_fit_the_tariff() -> None:
    prepared = plan(_tariff())
    with pytest.raises(ValueError, match="usage of 1 periods, got 2"):
        rate_batch(prepared, Usages(quantity=[[1], [2]]), 1)
    with pytest.raises(ValueError, match="before: expected 2 values, got 1"):
        rate_batch(prepared, Usages(quantity=[[1, 2]], before=[1]), 2)
    with pytest.raises(ValueError, match="must not be negative"):
        rate_batch(prepared, Usages(quantity=[[-1]]), 1)


def test_nobody_is_rated_too() -> None:
    assert rate_batch(plan(_tariff()), Usages(quantity=[[]]), 0).totals.tolist() == []
