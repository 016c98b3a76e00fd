"""One minimum and one cap over all pieces of a bill: who shares them, and that the whole comes out right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud.billing.charges.filings import Filing
from cloud.billing.charges.limits import BillLimits, Cost, SoFar, Term, columns, limit_inputs, shared, shares_kept
from cloud.billing.charges.pieces import Piece, pieces
from cloud.billing.charges.supplies import rounds, supplies, with_limits
from cloud.billing.records import Agreement, Uncharged
from cloud.kit.periods import Period
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import lacking, total, unlimited
from cloud.tariffs.rating.plan import plan
from cloud.tariffs.service import TariffVersion
from tests.unit.cloud.tariffs.reference_of_bills import DAY, Books, Home

JANUARY = Period(date(2026, 1, 1), date(2026, 2, 1))
TWENTIETH = date(2026, 1, 20)
ENERGY: dict[str, Any] = {"kind": "energy", "code": "energy", "prices": {"all": ["0.5", "0.75"]}}
DAILY: dict[str, Any] = {"kind": "fixed", "code": "daily", "per": "day", "price": "1"}


def tariff(*components: dict[str, Any], **more: Any) -> TariffContent:
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"bounds": [100], "window": {"kind": "year"}},
            "components": components or (ENERGY, DAILY),
        }
        | more
    )


def of_bill(amount: str) -> dict[str, str]:
    return {"amount": amount, "per": "bill"}


def version(content: TariffContent, since: date = date(2020, 1, 1), until: date | None = None) -> TariffVersion:
    return TariffVersion(since.toordinal(), 1, 1, since, until, content, "")


def agreed(number: int, start: date, end: date | None, *, meter: int = 1, **more: Any) -> Agreement:
    return replace(Agreement(number, 1, 1, "electricity", 1, meter, None, start, end), **more)


def cut(agreement: Agreement, *versions: TariffVersion, bill: Period = JANUARY) -> list[Piece]:
    there = bill.overlap(Period(agreement.valid_from, agreement.valid_until or bill.end))
    assert there is not None
    return pieces(Uncharged(agreement, there), versions)


def told(piece: Piece) -> tuple[Decimal | None, Decimal | None, bool]:
    """Minimum, cap, and whether the minimum is completed here."""
    limits = piece.limits
    if limits is None:
        return None, None, False
    minimum, cap = limits.minimum, limits.cap
    return (
        None if minimum is None else minimum.amount,
        None if cap is None else cap.amount,
        minimum is not None and minimum.last,
    )


def test_a_bill_that_is_not_cut_has_the_limits_of_its_tariff() -> None:
    (one,) = supplies({1: cut(agreed(1, JANUARY.start, None), version(tariff(minimum=of_bill("30"))))})
    assert [piece.limits for piece in one] == [None]


def test_the_same_limit_is_the_same_however_the_bill_is_cut() -> None:
    limits = {"minimum": of_bill("30.01"), "cap": of_bill("99.99")}
    first, second = version(tariff(**limits), until=TWENTIETH), version(tariff(**limits), since=TWENTIETH)
    (one,) = supplies({1: cut(agreed(1, JANUARY.start, None), first, second)})
    assert [told(piece) for piece in one] == [
        (Decimal("30.01"), Decimal("99.99"), False),
        (Decimal("30.01"), Decimal("99.99"), True),
    ]


def test_limits_that_differ_count_by_the_days_that_they_hold() -> None:
    """19 days at 30 and 12 days at 20 of 31; the cap is of the first version alone and bears on its days."""
    before = tariff(minimum=of_bill("30"), cap=of_bill("40"))
    first, second = version(before, until=TWENTIETH), version(tariff(minimum=of_bill("20")), since=TWENTIETH)
    (one,) = supplies({1: cut(agreed(1, JANUARY.start, None), first, second)})
    assert [told(piece) for piece in one] == [
        (Decimal("26.13"), Decimal("24.52"), False),
        (Decimal("26.13"), None, True),
    ]
    assert one[0].limits is not None
    assert one[0].limits.minimum is not None
    assert one[0].limits.minimum.terms == (Term(Decimal(30), 19), Term(Decimal(20), 12))


def test_a_limit_per_day_is_nobody_elses() -> None:
    daily = tariff(minimum={"amount": "1", "per": "day"})
    first, second = version(daily, until=TWENTIETH), version(daily, since=TWENTIETH)
    (one,) = supplies({1: cut(agreed(1, JANUARY.start, None), first, second)})
    assert [piece.limits for piece in one] == [None, None]


def test_another_tariff_in_mid_period_is_no_second_bill() -> None:
    content = version(tariff(minimum=of_bill("30")))
    found = supplies(
        {
            1: cut(agreed(1, JANUARY.start, TWENTIETH), content),
            2: cut(agreed(2, TWENTIETH, None, tariff_id=2), content),
        }
    )
    assert [[(piece.agreement.id, told(piece)[0], told(piece)[2]) for piece in one] for one in found] == [
        [(1, Decimal("30.00"), False), (2, Decimal("30.00"), True)]
    ]


def test_two_meters_at_once_are_two_supplies_and_each_goes_on_with_its_own() -> None:
    """Meter 8 was changed for an agreement of its own on the 20th, as was meter 9; 7 is there all the time."""
    content = version(tariff(cap=of_bill("50")))
    found = supplies(
        {
            1: cut(agreed(1, JANUARY.start, TWENTIETH, meter=9), content),
            2: cut(agreed(2, JANUARY.start, TWENTIETH, meter=8), content),
            3: cut(agreed(3, JANUARY.start, None, meter=7), content),
            4: cut(agreed(4, TWENTIETH, None, meter=8), content),
            5: cut(agreed(5, TWENTIETH, None, meter=9), content),
        }
    )
    assert sorted([piece.agreement.id for piece in one] for one in found) == [[1, 5], [2, 4], [3]]


def test_of_other_meters_the_next_for_the_same_unit_goes_on() -> None:
    content = version(tariff(cap=of_bill("50")))
    found = supplies(
        {
            1: cut(agreed(1, JANUARY.start, TWENTIETH, meter=7, unit_id=1), content),
            2: cut(agreed(2, JANUARY.start, TWENTIETH, meter=8, unit_id=2), content),
            3: cut(agreed(3, TWENTIETH, None, meter=9, unit_id=2), content),
            4: cut(agreed(4, TWENTIETH, None, meter=10, unit_id=1), content),
        }
    )
    assert sorted([piece.agreement.id for piece in one] for one in found) == [[1, 4], [2, 3]]


def test_without_limits_of_a_bill_every_agreement_is_by_itself() -> None:
    content = version(tariff())
    found = supplies(
        {1: cut(agreed(1, JANUARY.start, TWENTIETH), content), 2: cut(agreed(2, TWENTIETH, None), content)}
    )
    assert [[piece.agreement.id for piece in one] for one in found] == [[1], [2]]


def test_a_round_holds_one_piece_of_every_supply() -> None:
    first, second = version(tariff(), until=TWENTIETH), version(tariff(), since=TWENTIETH)
    whole, late = cut(agreed(1, JANUARY.start, None), first, second), cut(agreed(2, TWENTIETH, None), first, second)
    assert rounds(supplies({1: whole, 2: late, 3: []})) == [[whole[0], late[0]], [whole[1]]]
    assert rounds([]) == []


def test_what_a_bill_keeps_says_who_shares() -> None:
    halves = [(1, Period(JANUARY.start, TWENTIETH)), (1, Period(TWENTIETH, JANUARY.end))]
    content = tariff(minimum=of_bill("30"))
    limits = shared([(content, period) for _, period in halves], halves)[0]
    assert limits is not None
    kept = limit_inputs(limits, SoFar(Decimal("1.50"), Decimal("9.00")))
    assert kept["minimum"] == {
        "amount": Decimal("30.00"),
        "terms": ({"amount": Decimal(30), "days": 31},),
        "days": 31,
        "last": False,
        "before": Decimal("1.50"),
    }
    assert "cap" not in kept
    assert shares_kept({"bill_limits": kept}) == ((1, "2026-01-01/2026-01-20"), (1, "2026-01-20/2026-02-01"))
    assert shares_kept({}) == ()


@dataclass
class Charged:
    """What pieces cost, one after the other: without limits and in all."""

    alone: list[Decimal]
    amounts: list[Decimal]


def charge(found: Sequence[Piece], used: Sequence[int], home: Home | None = None) -> Charged:
    """Rates pieces as bill runs do, `used` Wh each, on nothing but what is given here."""
    so_far, before, exact = SoFar(), 0, Decimal(0)
    charged = Charged([], [])
    for n, (piece, quantity) in enumerate(zip(found, used, strict=True)):
        content = piece.version.content
        parts = piece.window_parts(
            [] if home is None else [Filing(since, None, count) for since, count in home.persons]
        )
        if n and piece.window != found[n - 1].window:
            before, exact = 0, Decimal(0)
        prepared = plan(content, piece.season, 12)
        limits = columns(content, [(piece.limits, so_far)])
        rated = rate_batch(
            prepared,
            Usages(
                quantity=[[quantity]],
                before=[before],
                steps=[parts.steps],
                covered=[parts.covered],
                whole=[parts.whole],
                days=[piece.period.days],
                months=[piece.months],
                begun=[piece.begun_months],
                carry=[int((exact % Decimal("0.01")).scaleb(prepared.places))],
                minimum=limits.minimum,
                cap=limits.cap,
                minimum_before=limits.minimum_before,
                cap_before=limits.cap_before,
                last=limits.last,
            ),
            1,
        )
        charged.alone.append(unlimited(rated, 0))
        charged.amounts.append(total(rated, 0))
        before += quantity
        exact += Decimal(int(rated.exact[0])).scaleb(-prepared.places)
        if piece.limits is not None:
            so_far = so_far.and_then(piece.limits, Cost(unlimited(rated, 0), lacking(rated, 0)))
    return charged


def cut_at(days: Sequence[date], contents: Sequence[TariffContent], bill: Period = JANUARY) -> list[Piece]:
    """A bill of an agreement whose versions begin on these days, the first long before."""
    starts = [date(2020, 1, 1), *days]
    versions = [
        version(content, since, until) for content, since, until in zip(contents, starts, [*days, None], strict=True)
    ]
    (one,) = supplies({1: cut(agreed(1, JANUARY.start, None), *versions, bill=bill)})
    return one


def test_the_cap_leaves_later_pieces_what_earlier_ones_did_not_use() -> None:
    content = tariff({**ENERGY, "prices": {"all": ["1", "1"]}}, cap=of_bill("100"))
    found = charge(cut_at([date(2026, 1, 10), date(2026, 1, 20)], [content] * 3), [70_000, 50_000, 20_000])
    assert found.amounts == [Decimal("70.00"), Decimal("30.00"), Decimal("0.00")]


def test_the_minimum_is_completed_with_the_last_piece() -> None:
    content = tariff({**ENERGY, "prices": {"all": ["1", "1"]}}, minimum=of_bill("100"))
    found = charge(cut_at([date(2026, 1, 10), date(2026, 1, 20)], [content] * 3), [10_000, 20_000, 5_500])
    assert found.amounts == [Decimal("10.00"), Decimal("20.00"), Decimal("70.00")]


def test_a_tax_is_taken_of_each_piece_after_the_limits() -> None:
    vat = {"kind": "tax", "code": "vat", "percent": "13"}
    content = tariff({**ENERGY, "prices": {"all": ["1", "1"]}}, vat, cap=of_bill("100"))
    found = charge(cut_at([TWENTIETH], [content] * 2), [70_000, 50_000])
    assert found.amounts == [Decimal("79.10"), Decimal("33.90")]


def kwh(**limits: dict[str, str]) -> TariffContent:
    """A kWh costs 1."""
    return tariff({**ENERGY, "prices": {"all": ["1", "1"]}}, **limits)


def test_what_reached_the_minimum_counts_towards_the_cap() -> None:
    """The minimum is of 19 days alone: 38, of which 28 are missing; the cap leaves 62 of the 80 after them."""
    contents = [kwh(minimum=of_bill("62"), cap=of_bill("100")), kwh(cap=of_bill("100"))]
    assert charge(cut_at([TWENTIETH], contents), [10_000, 80_000]).amounts == [Decimal("38.00"), Decimal("62.00")]


def test_what_days_without_a_minimum_cost_does_not_reach_it() -> None:
    """The minimum is of 12 days alone: 24."""
    contents = [kwh(cap=of_bill("200")), kwh(minimum=of_bill("62"))]
    assert charge(cut_at([TWENTIETH], contents), [50_000, 10_000]).amounts == [Decimal("50.00"), Decimal("24.00")]


@pytest.mark.parametrize(("least", "before"), [(2**62 - 1, -(2**62) + 1), (5_000, -(2**63) + 1), (5_000, -(2**70))])
def test_what_came_before_may_be_more_than_int64_holds(least: int, before: int) -> None:
    """Each of the amounts fits, or nearly; what is worked out from them does not."""
    content = tariff(
        {"kind": "energy", "code": "energy", "prices": {"all": ["0.01"]}},
        {"kind": "surcharge", "code": "off", "percent": "-200"},
        tiers={"window": {"kind": "bill"}},
        minimum=of_bill("1"),
        cap=of_bill("1"),
    )
    usages = Usages(
        quantity=[[1_000_000]], minimum=[least], cap=[least], minimum_before=[before], cap_before=[before], last=[1]
    )
    rated = rate_batch(plan(content), usages, 1)
    assert rated.unlimited.tolist() == [-1000]
    assert rated.minimum.tolist() == [least - before + 1000]
    assert rated.totals.tolist() == [least - before]


AMOUNTS = st.integers(-300, 300)


@given(
    st.lists(AMOUNTS, min_size=1, max_size=4),
    st.integers(0, 300),
    st.integers(0, 300),
    st.sampled_from([1, 10**20]),
    st.booleans(),
)
@example([150, -30], 0, 100, 1, True)
@example([-50, 150], 20, 0, 1, True)
def test_the_pieces_of_a_bill_come_to_its_limits_whatever_they_cost(
    costs: list[int], least: int, more: int, times: int, capped: bool
) -> None:
    """All together: the sum without limits, not less than the minimum and not more than the cap. Also below zero, where
    a discount is more than what it is taken off; and beyond int64."""
    minimum, cap = least * times, (least + more) * times
    content = tariff(
        {"kind": "energy", "code": "energy", "prices": {"all": ["0.01"]}},
        {"kind": "surcharge", "code": "off", "percent": "-200"},
        tiers={"window": {"kind": "bill"}},
        minimum=of_bill("1"),
        cap=of_bill("1") if capped else None,
    )
    plus = content.model_copy(update={"components": content.components[:1]})
    so_far, before, charged = 0, 0, 0
    for n, cost in enumerate(costs):
        usages = Usages(
            quantity=[[abs(cost) * times * 1000]],
            minimum=[minimum],
            cap=[cap] if capped else (),
            minimum_before=[so_far],
            cap_before=[before],
            last=[int(n == len(costs) - 1)],
        )
        rated = rate_batch(plan(content if cost < 0 else plus), usages, 1)
        assert int(rated.unlimited[0]) == cost * times
        so_far += int(rated.unlimited[0])
        before += int(rated.unlimited[0]) + int(rated.minimum[0])
        charged += int(rated.totals[0])
        if capped:
            assert charged <= cap
    wanted = max(sum(costs) * times, minimum)
    assert charged == (min(wanted, cap) if capped else wanted)


@st.composite
def versions_of_a_year(draw: st.DrawFn) -> tuple[list[date], list[TariffContent], Home]:
    """1 to 4 versions of a tariff within two months, with any limits, tiers and window; and usage day by day."""
    days = [JANUARY.start + timedelta(days=n) for n in range(59)]
    starts = sorted(draw(st.sets(st.sampled_from(days[1:]), max_size=3)))
    window = draw(
        st.sampled_from(
            [
                {"kind": "year"},
                {"kind": "year", "anchor": "01-15", "partial": "by_day"},
                {"kind": "month"},
                {"kind": "month", "partial": "by_day"},
            ]
        )
    )
    amount = st.sampled_from(["0", "15.55", "60", "61.01", "400"])
    contents = []
    for _ in range(len(starts) + 1):
        per = draw(st.sampled_from(["bill", "bill", "bill", "day", "month"]))
        least, most = sorted([draw(amount), draw(amount)], key=Decimal)
        which = draw(st.sampled_from(["", "minimum", "cap", "minimum cap"]))
        limits = {
            name: {"amount": value, "per": per} for name, value in (("minimum", least), ("cap", most)) if name in which
        }
        prices = draw(st.lists(st.sampled_from(["0.3333", "1.07", "0", "2"]), min_size=2, max_size=2))
        cumulative = draw(st.booleans())
        parts: list[dict[str, Any]] = [{**ENERGY, "prices": {"all": prices}}, DAILY]
        parts += draw(st.sampled_from([[], [{"kind": "surcharge", "code": "off", "percent": "-107.5"}]]))
        parts += draw(st.sampled_from([[], [{"kind": "tax", "code": "vat", "percent": "13"}]]))
        household = {"from_persons": 4, "raise_bounds_by": 20, "per": "month"}
        contents.append(
            tariff(
                *parts,
                tiers={"bounds": [draw(st.integers(1, 90))], "window": window},
                household=household,
                rounding={"level": "bill", "cumulative": cumulative},
                **limits,
            )
        )
    most_used = draw(st.sampled_from([0, 900, 9_000]))
    used = {day: [("all", Decimal(draw(st.integers(0, most_used))).scaleb(-3))] for day in days}
    moved_in = draw(st.sampled_from(days[:20]))
    return starts, contents, Home(moved_in, date(2099, 1, 1), used, [(date(2025, 1, 1), draw(st.integers(1, 6)))])


@settings(max_examples=60)
@given(versions_of_a_year(), st.sampled_from([JANUARY, Period(JANUARY.start, date(2026, 3, 1))]))
def test_a_bill_in_pieces_is_that_of_the_reference(
    found: tuple[list[date], list[TariffContent], Home], bill: Period
) -> None:
    """Day by day in Decimals, with the share of every day in each limit: see `reference_of_bills`."""
    starts, contents, home = found
    versions = [
        version(content, since, until)
        for content, since, until in zip(contents, [date(2020, 1, 1), *starts], [*starts, None], strict=True)
    ]
    (mine,) = supplies({1: cut(agreed(1, home.moved_in, None), *versions, bill=bill)})
    used = [
        int(sum(home.used[piece.period.start + n * DAY][0][1] for n in range(piece.period.days)) * 1000)
        for piece in mine
    ]
    charged = charge(mine, used, home)
    expected = Books([(one.valid_from, one.content) for one in versions], home).bill(bill.start, bill.end)
    assert charged.alone == [one.alone for one in expected]
    assert charged.amounts == [one.total for one in expected]


@pytest.mark.parametrize("name", ["minimum", "cap"])
def test_a_charge_cut_afterwards_shares_its_own_limit(name: str) -> None:
    """A floor area that was corrected within a charge: two parts, still one charge of the bill."""
    content = version(tariff(**{name: of_bill("30")}))
    (whole,) = cut(agreed(1, JANUARY.start, None), content)
    halves = [
        replace(whole, period=Period(JANUARY.start, TWENTIETH)),
        replace(whole, period=Period(TWENTIETH, JANUARY.end)),
    ]
    found = [piece.limits for piece in with_limits(halves, [(1, JANUARY)])]
    assert all(isinstance(one, BillLimits) and one.pieces == ((1, JANUARY),) for one in found)
    limits = [getattr(one, name) for one in found]
    assert [(one.amount, one.last) for one in limits] == [(Decimal("30.00"), False), (Decimal("30.00"), True)]
