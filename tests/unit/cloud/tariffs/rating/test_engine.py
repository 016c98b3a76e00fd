"""The vectorised engine equals the Decimal reference on every account, and its lines add up."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.model.values import UNIT_EXPONENTS
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import contained_taxes, exact, explain, total
from cloud.tariffs.rating.plan import plan
from tests.unit.cloud.tariffs import reference
from tests.unit.cloud.tariffs.reference import Account

PRICES = st.builds(lambda n, places: str(Decimal(n).scaleb(-places)), st.integers(0, 3 * 10**6), st.integers(0, 6)).map(
    lambda text: format(Decimal(text), "f")
)
SEASONS = [
    {"code": "summer", "first": "06-01", "last": "09-30"},
    {"code": "other", "first": "10-01", "last": "05-31"},
]
STANDING = [
    {"kind": "fixed", "code": "daily", "per": "day", "price": "0.3335"},
    {"kind": "fixed", "code": "monthly", "per": "month", "price": "7.125"},
    {"kind": "area", "code": "by_area", "price": "2.355"},
    {"kind": "area", "code": "by_area_begun", "price": "1.1", "partial": "full"},
    {"kind": "demand", "code": "load", "price": "38.5"},
    {"kind": "capacity", "code": "transformer", "price": "26.125"},
]


def power_factor_steps() -> list[dict[str, str]]:
    """An adjustment that rewards a good power factor and charges a bad one."""
    return [
        {"at_least": "0.95", "percent": "-0.75"},
        {"at_least": "0.9", "percent": "0"},
        {"at_least": "0.00", "percent": "12.5"},
    ]


@st.composite
def relative(draw: st.DrawFn, codes: list[str]) -> list[dict[str, object]]:
    """Percentages of what stands before them, taxes last."""
    of = st.sampled_from([[], codes[:1], codes])
    parts: list[dict[str, object]] = []
    if draw(st.booleans()):
        parts.append({"kind": "power_factor", "code": "pf", "of": draw(of), "steps": power_factor_steps()})
    if draw(st.booleans()):
        percent = draw(st.sampled_from(["5", "12.3456", "-3.5", "0"]))
        parts.append({"kind": "surcharge", "code": "surcharge", "percent": percent, "of": draw(of)})
    if draw(st.booleans()):
        tax = {"kind": "tax", "code": "vat", "percent": draw(st.sampled_from(["13", "9", "0.3333"]))}
        parts.append(tax | {"inclusive": draw(st.booleans()), "of": draw(of)})
    return parts


@st.composite
def energy_component(
    draw: st.DrawFn, number: int, tiers: int, codes: list[str], mode: str, shape: str
) -> dict[str, Any]:
    """Prices of one energy component, by season or not, with or without prices for accounts that have no tiers."""
    row = st.lists(PRICES, min_size=tiers, max_size=tiers)
    rows = st.fixed_dictionaries(dict.fromkeys(codes, row))
    single = st.fixed_dictionaries(dict.fromkeys(codes, PRICES))
    part: dict[str, Any] = {"kind": "energy", "code": f"energy{number}"}
    if "seasons" in shape:
        part["by_season"] = {season["code"]: draw(rows) for season in SEASONS}
        part["single_by_season"] = {season["code"]: draw(single) for season in SEASONS} if "single" in shape else None
    else:
        part["prices"] = draw(rows)
        part["single"] = draw(single) if "single" in shape else None
    part["flat"] = draw(st.none() | row) if mode == "volume" else None
    part["factor"] = "1" if mode == "package" else draw(st.sampled_from(["1", "0.9", "1.125"]))
    return part


@st.composite
def time_periods(draw: st.DrawFn, codes: list[str]) -> dict[str, Any] | None:
    """Nothing for a single period, else any way to meet the tiers."""
    if len(codes) == 1:
        return None
    method = draw(st.sampled_from(["proportional", "priority", "chronological"]))
    order = draw(st.permutations(codes)) if method == "priority" else []
    hours: dict[str, list[str]] = {code: [] for code in codes} | {codes[0]: ["00:00-08:00"], codes[-1]: ["08:00-24:00"]}
    schedule = [{"hours": hours}] if method == "chronological" else []
    return {"codes": codes, "allocation": {"method": method, "order": order}, "schedule": schedule}


@st.composite
def tariffs(draw: st.DrawFn) -> TariffContent:
    """Any tariff that the model allows, small enough to hit its bounds often."""
    unit = draw(st.sampled_from(["kWh", "m3", "piece"]))
    mode = draw(st.sampled_from(["graduated", "graduated", "volume", "package"]))
    bounds = sorted(draw(st.sets(st.integers(1, 400), max_size=3)))
    window = "bill" if mode == "volume" else draw(st.sampled_from(["bill", "month", "year"]))
    codes = (
        ["all"] if mode == "package" else draw(st.sampled_from([["all"], ["peak", "valley"], ["peak", "mid", "low"]]))
    )
    shape = draw(st.sampled_from(["", "single", "seasons", "seasons single"])) if mode != "volume" else ""
    energy = [
        draw(energy_component(number, len(bounds) + 1, codes, mode, shape)) for number in range(draw(st.integers(1, 2)))
    ]
    others = draw(st.lists(st.sampled_from(STANDING), max_size=3, unique_by=lambda part: part["code"]))
    household = None
    if window != "bill" and bounds:
        per = draw(st.sampled_from(["month", "year"])) if window == "year" else "month"
        each = draw(st.sampled_from(["household", "extra_person"]))
        widened = sorted(draw(st.sets(st.integers(1, len(bounds)), min_size=1)))
        household = {"from_persons": 5, "raise_bounds_by": draw(st.integers(0, 9)), "per": per, "each": each}
        household["tiers"] = widened
    level = draw(st.sampled_from(["line", "component", "bill"]))
    limit = st.none() | st.fixed_dictionaries(
        {"amount": st.sampled_from(["0", "30", "200"]), "per": st.sampled_from(["bill", "day", "month"])}
    )
    direct = [*energy, *others]
    return TariffContent.model_validate(
        {
            "currency": draw(st.sampled_from(["CNY", "JPY", "KWD"])),
            "service": "test",
            "unit": unit,
            "components": [*direct, *draw(relative([part["code"] for part in direct]))],
            "tiers": {
                "mode": mode,
                "bounds": bounds,
                "window": {"kind": window},
                "package": draw(st.integers(1, 50)) if mode == "package" else None,
                "free": draw(st.none() | st.integers(1, 60)) if mode == "graduated" else None,
            },
            "household": household,
            "seasons": SEASONS if "seasons" in shape else [],
            "periods": draw(time_periods(codes)),
            "minimum": draw(limit),
            "cap": None,
            "rounding": {"level": level, "cumulative": level == "bill" and draw(st.booleans())},
        }
        | draw(st.sampled_from([{}, {"minimum": None, "cap": {"amount": "50", "per": "bill"}}]))
    )


@st.composite
def accounts_of(draw: st.DrawFn, content: TariffContent) -> list[Account]:
    """Accounts whose usage falls on, just below and just above the bounds more often than chance would have it."""
    base = Decimal(1).scaleb(-UNIT_EXPONENTS[content.unit or ""])
    near = [bound + step * base for bound in content.tiers.bounds for step in (-1, 0, 1)] or [Decimal(1)]
    anywhere = st.integers(0, 700 * 10 ** UNIT_EXPONENTS[content.unit or ""]).map(lambda n: n * base)
    quantity = st.one_of(anywhere, st.sampled_from(near), st.just(Decimal(0)), st.just(base))
    months = st.one_of(st.integers(0, 3).map(Decimal), st.integers(0, 10**6).map(lambda n: Decimal(n).scaleb(-6)))
    # One order of time for the whole batch, as the engine takes it.
    order = draw(st.lists(st.sampled_from(content.period_codes), min_size=1, max_size=5))

    @st.composite
    def account(draw: st.DrawFn) -> Account:
        in_time = tuple((code, draw(quantity)) for code in order)
        usage = {code: draw(quantity) for code in content.period_codes}
        if _chronological(content):
            usage = {
                code: sum((used for other, used in in_time if other == code), Decimal(0))
                for code in content.period_codes
            }
        whole = draw(st.sampled_from([1, 12]))
        return Account(
            usage=usage,
            in_time=in_time,
            before=draw(quantity),
            persons=draw(st.integers(0, 9)),
            covered=draw(st.integers(1, whole)),
            whole=whole,
            single=draw(st.booleans()),
            area=Decimal(draw(st.integers(0, 20000))).scaleb(-2),
            demand=Decimal(draw(st.integers(0, 300_000))).scaleb(-3),
            capacity=Decimal(draw(st.integers(0, 300_000))).scaleb(-3),
            power_factor=Decimal(draw(st.integers(0, 100))).scaleb(-2),
            days=draw(st.integers(0, 31)),
            months=draw(months),
            begun=Decimal(draw(st.integers(0, 3))),
        )

    return draw(st.lists(account(), min_size=1, max_size=6))


def _chronological(content: TariffContent) -> bool:
    return content.periods is not None and content.periods.allocation.method == "chronological"


def usages_of(content: TariffContent, accounts: list[Account]) -> Usages:
    """The accounts as the engine takes them."""
    exponent = UNIT_EXPONENTS[content.unit or ""]
    prepared = plan(content)
    quantity = [[int(account.usage[code].scaleb(exponent)) for account in accounts] for code in content.period_codes]
    sequence: list[int] | None = None
    if _chronological(content):
        order = [code for code, _ in accounts[0].in_time or ()]
        sequence = [content.period_codes.index(code) for code in order]
        in_time = [account.in_time or () for account in accounts]
        quantity = [[int(one[place][1].scaleb(exponent)) for one in in_time] for place in range(len(order))]
    return Usages(
        quantity=quantity,
        sequence=sequence,
        before=[int(account.before.scaleb(exponent)) for account in accounts],
        steps=[prepared.household_steps(account.persons) * account.covered for account in accounts],
        covered=[account.covered for account in accounts],
        whole=[account.whole for account in accounts],
        single=[int(account.single) for account in accounts],
        area=[int(account.area.scaleb(2)) for account in accounts],
        demand=[int(account.demand.scaleb(3)) for account in accounts],
        capacity=[int(account.capacity.scaleb(3)) for account in accounts],
        power_factor=[int(account.power_factor * 100) for account in accounts],
        days=[account.days for account in accounts],
        months=[int(account.months.scaleb(6)) for account in accounts],
        begun=[int(account.begun.scaleb(6)) for account in accounts],
    )


def assert_equal_to_reference(content: TariffContent, accounts: list[Account], season: str | None = None) -> None:
    rated = rate_batch(plan(content, season), usages_of(content, accounts), len(accounts))
    for index, account in enumerate(accounts):
        expected = reference.rate(content, account, season or content.season_codes[0])
        assert total(rated, index) == expected.total
        assert exact(rated, index) == expected.exact
        assert sum((tax.amount for tax in contained_taxes(rated, index)), Decimal(0)) == expected.contained
        lines = explain(rated, index)
        assert sum((line.amount for line in lines), Decimal(0)) == expected.total
        direct = [line for line in lines if line.kind in DIRECT]
        assert sorted((line.component, line.quantity) for line in direct) == sorted(
            (component, quantity) for component, _, _, quantity, _ in expected.lines
        )


DIRECT = ("usage", "fixed", "area", "demand", "capacity")


@given(st.data())
def test_equals_the_decimal_reference_on_every_account(data: st.DataObject) -> None:
    content = data.draw(tariffs())
    season = data.draw(st.sampled_from(content.season_codes))
    assert_equal_to_reference(content, data.draw(accounts_of(content)), season)


@given(st.data())
def test_equals_it_beyond_int64_too(data: st.DataObject) -> None:
    """One account of absurd size makes the whole batch use Python integers."""
    content = data.draw(tariffs())
    accounts = data.draw(accounts_of(content))
    huge = Decimal(10**18)
    in_time = tuple((code, huge) for code, _ in accounts[0].in_time or ())
    usage = dict.fromkeys(content.period_codes, huge)
    if _chronological(content):
        usage = {code: huge * sum(1 for other, _ in in_time if other == code) for code in content.period_codes}
    accounts[0] = replace(accounts[0], usage=usage, in_time=in_time, area=huge)
    assert_equal_to_reference(content, accounts)


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
@given(st.integers(2**62, 2**80), st.integers(0, 2**80))
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


def _two_rates(**limits: object) -> TariffContent:
    """Power with 13 % and a standing charge with 9 % inside."""
    vat = {"kind": "tax", "inclusive": True}
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "test",
            "unit": "kWh",
            "components": [
                {"kind": "energy", "code": "power", "prices": {"all": ["1"]}},
                {"kind": "fixed", "code": "heat", "per": "month", "price": "5"},
                vat | {"code": "vat13", "percent": "13", "of": ["power"]},
                vat | {"code": "vat9", "percent": "9", "of": ["heat"]},
            ],
        }
        | limits
    )


@pytest.mark.parametrize(
    ("used", "months", "expected"),
    [
        ("10", "1", [("20.00", "2.30"), ("10.00", "0.83")]),
        ("0", "1", [("0.00", "0.00"), ("30.00", "2.48")]),
        ("0", "0", [("30.00", "3.45"), ("0.00", "0.00")]),
        ("40", "0", [("40.00", "4.60"), ("0.00", "0.00")]),
    ],
)
def test_what_a_minimum_adds_bears_the_taxes_of_what_it_is_paid_for(
    used: str, months: str, expected: list[tuple[str, str]]
) -> None:
    """By what the components cost; where none costs anything it is the first that a tax names."""
    content = _two_rates(minimum={"amount": "30", "per": "bill"})
    account = Account(usage={"all": Decimal(used)}, months=Decimal(months))
    rated = rate_batch(plan(content), usages_of(content, [account]), 1)
    told = contained_taxes(rated, 0)
    assert [(str(tax.base.quantize(Decimal("0.01"))), str(tax.amount)) for tax in told] == expected
    assert_equal_to_reference(content, [account])
