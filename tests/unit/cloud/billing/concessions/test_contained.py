"""The tax that a bill says its prices contain is that of what is paid for: of lines net of their concessions."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.concessions.contained import after_concessions, contained_kept, taxes_within
from cloud.billing.concessions.reductions import Concession, reductions
from cloud.billing.records import BillLine, Charge
from cloud.kit.money import part_of, round_half_up
from cloud.kit.periods import Period, month_of
from cloud.tariffs.rating.explain import ContainedTax, Line, costs, paid, under_cap

JANUARY = month_of(date(2026, 1, 1))
VAT13, VAT9 = Decimal("0.13"), Decimal("0.09")


def line(component: str, amount: str | Decimal, kind: Any = "fixed") -> Line:
    return Line(kind, component, None, None, None, None, None, Decimal(amount))


def percent(value: str, *components: str) -> Concession:
    return Concession(1, "subsidy", "Subsidy", "percent", Decimal(value), JANUARY, 30, components=components)


def contained(base: str | Decimal, share: Decimal, *of: str) -> ContainedTax:
    base = Decimal(base)
    return ContainedTax("vat", base, share, part_of(base, share, 1 + share, 2), of)


def after(lines: list[Line], taxes: list[ContainedTax], *conceded: Concession) -> list[tuple[str, str]]:
    taken = reductions([(one.component, one.amount) for one in lines], "rent", JANUARY, conceded, 2)
    return [(str(tax.base), str(tax.amount)) for tax in after_concessions(taxes, lines, taken, 2)]


def test_the_tax_is_that_of_what_remains() -> None:
    assert after([line("rent", "113.00")], [contained("113.00", VAT13)], percent("20")) == [("90.40", "10.40")]


def test_a_concession_bears_on_the_tax_of_its_own_components_only() -> None:
    """Heating at 9 % and power at 13 %, half of the heating taken off."""
    lines = [line("heat", "109.00"), line("power", "113.00")]
    taxes = [contained("109.00", VAT9, "heat"), contained("113.00", VAT13, "power")]
    assert after(lines, taxes, percent("50", "heat")) == [("54.50", "4.50"), ("113.00", "13.00")]


def test_stretches_with_rates_of_their_own_bear_their_parts() -> None:
    """A third of the rent at 9 %, the rest at 13 %: 10.00 off are 3.33 and 6.67."""
    lines = [line("rent", "50.00"), line("rent", "100.00")]
    off = Concession(1, "subsidy", "Subsidy", "amount", Decimal("10"), JANUARY, 30)
    assert after(lines, [contained("50.00", VAT9), contained("100.00", VAT13)], off) == [
        ("46.67", "3.85"),
        ("93.33", "10.74"),
    ]


def test_a_stretch_without_a_tax_bears_its_part_too() -> None:
    lines = [line("rent", "100.00"), line("rent", "100.00")]
    assert after(lines, [contained("100.00", VAT13)], percent("10")) == [("90.00", "10.35")]


def test_a_cap_is_borne_by_what_it_limits() -> None:
    """Power of 36 under a cap of 12 and a levy of 2 on top; 7 or all of the 12 for power are taken off."""
    lines = [line("power", "36.00"), line("cap", "-24.00", "cap"), line("levy", "2.00", "tax")]
    capped = [contained("12.00", VAT13, "power")]
    assert after(lines, capped, percent("50", "power")) == [("5.00", "0.58")]
    assert after(lines, capped, percent("100", "power", "cap")) == [("0.00", "0.00")]
    assert after(lines, capped, percent("100", "power")) == [("0.00", "0.00")], "14 off, of which 2 are of the levy"


def test_components_bear_their_shares_of_a_cap_and_bases_add_up_to_what_is_paid() -> None:
    """100 and 50 under a cap of 120: 30 off are 20 and 10; with 20 % off power, 18.46 and 11.54 of 80 and 50."""
    lines = [line("power", "100.00"), line("heat", "50.00"), line("cap", "-30.00", "cap")]
    capped = [contained("80.00", VAT13, "power"), contained("40.00", VAT9, "heat")]
    assert [(str(one.base), str(one.amount)) for one in capped] == [("80.00", "9.20"), ("40.00", "3.30")]
    assert after(lines, capped, percent("20", "power")) == [("61.54", "7.08"), ("38.46", "3.18")]
    assert after(lines, capped, percent("100", "power")) == [("0.00", "0.00"), ("20.00", "1.65")]


def test_components_bear_their_shares_of_a_minimum_of_what_concessions_left() -> None:
    """10 and 5 with 15 more to a minimum of 30 are 20 and 10; with 50 % off power, 12.50 of 5 and 12.50 of 5."""
    lines = [line("power", "10.00"), line("heat", "5.00"), line("minimum", "15.00", "minimum")]
    lifted = [contained("20.00", VAT13, "power"), contained("10.00", VAT9, "heat")]
    assert after(lines, lifted, percent("50", "power")) == [("12.50", "1.44"), ("12.50", "1.03")]
    assert after(lines, lifted, percent("50")) == [("10.00", "1.15"), ("5.00", "0.41")]
    assert after(lines, lifted, percent("100", "power", "heat")) == [("15.00", "1.73"), ("0.00", "0.00")]
    assert after(lines, lifted, percent("100")) == [("0.00", "0.00"), ("0.00", "0.00")]


def test_a_cap_may_leave_room_again_for_what_it_took_off_earlier_pieces() -> None:
    """A piece below zero makes room under the cap of the bill; where nothing costs anything nobody bears it."""
    cost = {"power": Decimal("30.00"), "heat": Decimal("10.00"), "credit": Decimal("-50.00")}
    assert under_cap(cost, Decimal("4.00"), 2) == {
        "power": Decimal("33.00"), "heat": Decimal("11.00"), "credit": Decimal("-50.00")
    }  # fmt: skip
    nothing = {"power": Decimal("0.00")}
    assert under_cap(nothing, Decimal("4.00"), 2) == nothing


CENTS = st.integers(0, 10**6)


@given(st.lists(CENTS, min_size=1, max_size=4), st.integers(0, 10**6), st.integers(0, 10**6),
       st.sampled_from(["", "7.5", "50", "100"]), st.booleans())  # fmt: skip
def test_bases_under_limits_add_up_to_what_is_paid(
    parts: list[int], minimum: int, cap: int, off: str, first_only: bool
) -> None:
    lines = [line(f"part{n}", Decimal(part).scaleb(-2)) for n, part in enumerate(parts)]
    taxes = [contained(one.amount, VAT13, one.component) for one in lines]
    lacking = max(0, minimum - sum(parts))
    above = max(0, sum(parts) + lacking - cap)
    if lacking:
        lines.append(line("minimum", Decimal(lacking).scaleb(-2), "minimum"))
    if above:
        lines.append(line("cap", -Decimal(above).scaleb(-2), "cap"))
    if lacking or above:
        left = paid(costs(lines), -Decimal(above).scaleb(-2), taxes, 2)
        taxes = [tax.on(left[tax.of[0]], 2) for tax in taxes]
    conceded = [percent(off, *(["part0"] if first_only else []))] if off else []
    taken = reductions([(one.component, one.amount) for one in lines], "rent", JANUARY, conceded, 2)
    found = after_concessions(taxes, lines, taken, 2)
    assert sum((tax.base for tax in found), Decimal(0)) == sum(
        [one.amount for one in lines] + [one.amount for one in taken], Decimal(0)
    )
    assert all(tax.base >= 0 for tax in found)


def test_a_tax_on_top_is_no_base_of_one_that_is_contained() -> None:
    lines = [line("rent", "100.00"), line("levy", "10.00", "tax")]
    taken = reductions([(one.component, one.amount) for one in lines], "rent", JANUARY, [percent("50", "rent")], 2)
    (found,) = after_concessions([contained("100.00", VAT13)], lines, taken, 2)
    assert (found.base, found.amount) == (Decimal("50.00"), Decimal("5.75"))
    assert taxes_within(lines, [found], taken) == {"levy": Decimal("10.00"), "vat": Decimal("5.75")}


AMOUNTS = st.integers(0, 10**6).map(lambda minor: Decimal(minor).scaleb(-2))


@given(
    st.lists(AMOUNTS, min_size=1, max_size=4),
    st.lists(st.sampled_from(["7.5", "33.3333", "100"]), max_size=3),
    st.integers(0, 2500),
)
def test_one_rate_over_everything_is_that_of_what_is_paid(amounts: list[Decimal], offs: list[str], rate: int) -> None:
    lines = [line(f"part{n}", amount) for n, amount in enumerate(amounts)]
    whole, share = sum(amounts, Decimal(0)), Decimal(rate).scaleb(-4)
    taken = reductions(
        [(one.component, one.amount) for one in lines], "rent", JANUARY, [percent(value) for value in offs], 2
    )
    (found,) = after_concessions([contained(whole, share)], lines, taken, 2)
    paid = whole + sum((one.amount for one in taken), Decimal(0))
    assert found.base == paid
    exact = Fraction(paid) * Fraction(share) / (1 + Fraction(share))
    assert found.amount == round_half_up(Decimal(exact.numerator) / exact.denominator)


@given(st.lists(AMOUNTS, min_size=1, max_size=5), st.sampled_from(["0.01", "7.5", "33.3333", "99"]))
def test_bases_of_stretches_add_up_to_what_is_paid(amounts: list[Decimal], off: str) -> None:
    lines = [line("rent", amount) for amount in amounts]
    whole = sum(amounts, Decimal(0))
    taken = reductions([("rent", whole)], "rent", JANUARY, [percent(off)], 2)
    found = after_concessions([contained(amount, VAT9) for amount in amounts], lines, taken, 2)
    assert sum((tax.base for tax in found), Decimal(0)) == whole + sum((one.amount for one in taken), Decimal(0))


def _charge(amount: str, *lines: tuple[str, str]) -> Charge:
    told = tuple(
        BillLine(n, kind, "rent", kind, None, None, None, None, None, Decimal(part), {}, 1, None)
        for n, (kind, part) in enumerate(lines, 1)
    )
    return Charge(1, 1, "rent", Period(JANUARY.start, JANUARY.end), None, None, None, None, None, None, None, None,
                  Decimal(amount), told)  # fmt: skip


def test_a_bill_from_before_shows_what_was_booked() -> None:
    """It kept the tax before concessions, and its charge a share of it."""
    kept = [{"component": "vat", "base": "113.00", "share": "0.13", "amount": "13.00"}]
    charge = _charge("90.00", ("fixed", "113.00"), ("discount", "-23.00"))
    (found,) = contained_kept(kept, charge, "CNY")
    assert (found.base, found.amount) == (Decimal("90.00"), Decimal("10.35"))
    (plain,) = contained_kept(kept, _charge("113.00", ("fixed", "113.00")), "CNY")
    assert (plain.base, plain.amount) == (Decimal("113.00"), Decimal("13.00"))


def test_a_bill_of_now_shows_what_it_keeps() -> None:
    kept = [{"component": "vat", "base": "90.00", "share": "0.13", "amount": "10.35", "of": ["rent"]}]
    (found,) = contained_kept(kept, _charge("90.00", ("fixed", "113.00"), ("discount", "-23.00")), "CNY")
    assert (found.base, found.amount, found.of) == (Decimal("90.00"), Decimal("10.35"), ("rent",))
