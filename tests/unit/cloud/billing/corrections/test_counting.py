"""Notes by hand against re-rating: any history comes to what is right beside its gifts, and never below nothing."""

from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cloud.billing.corrections.counting import ByHand, NoteCause, Standing, added, counted, settled_at, tax_of_part

ZERO = Decimal(0)
amounts = st.integers(0, 100_000).map(lambda cents: Decimal(cents).scaleb(-2))
rates = st.sampled_from([ZERO, Decimal("0.03"), Decimal("0.09"), Decimal("0.13")])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("rate"), amounts, rates),
        st.tuples(st.sampled_from(["error", "goodwill"]), st.integers(1, 100), st.just(ZERO)),
        st.tuples(st.just("put-on"), amounts, st.just(ZERO)),
    ),
    max_size=12,
)


def contained(amount: Decimal, rate: Decimal) -> dict[str, Decimal]:
    return added({"vat": round(amount * rate / (1 + rate), 2)})


@dataclass
class Charge:
    """A charge with contained tax as the services keep it: what is right, and what all documents come to."""

    amount: Decimal
    taxes: dict[str, Decimal]
    net: Decimal = ZERO
    net_taxes: dict[str, Decimal] = field(default_factory=dict)
    notes: list[ByHand] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        return Standing(self.net, self.net_taxes, tuple(self.notes))

    def rate(self, amount: Decimal, taxes: dict[str, Decimal]) -> None:
        found = counted((self.amount, self.taxes), (amount, taxes), self.standing)
        self.net += amount - self.amount + (found.amount if found else ZERO)
        more = added(taxes, {name: -part for name, part in self.taxes.items()}, found.taxes if found else {})
        self.net_taxes = added(self.net_taxes, more)
        self.amount, self.taxes = amount, taxes

    def note(self, amount: Decimal, cause: NoteCause) -> None:
        taxes = tax_of_part(amount, (self.amount, self.taxes), self.standing, (), 2)
        self.notes.append(ByHand(len(self.notes), f"C{len(self.notes)}", cause, amount, taxes))
        self.net, self.net_taxes = self.net + amount, added(self.net_taxes, taxes)


@given(amounts, rates, steps)
def test_what_was_given_back_never_exceeds_what_was_charged(first: Decimal, rate: Decimal, history: list) -> None:  # type: ignore[type-arg]
    charge = Charge(first, contained(first, rate), first, contained(first, rate))
    for kind, told, tax in history:
        if kind == "rate":
            before = charge.amount
            charge.rate(told, contained(told, tax))
            if told != before:
                gifts = -sum((one.amount for one in charge.notes if one.cause == "goodwill"), ZERO)
                assert charge.net == max(told - gifts, ZERO)
                if not gifts:
                    assert charge.net_taxes == charge.taxes
        elif kind == "put-on":
            charge.note(told, "error") if told else None
        elif charge.net > 0:
            part = max(round(charge.net * told / 100, 2), Decimal("0.01"))
            charge.note(-part, kind)
        assert charge.net >= 0
        assert all(part >= 0 for part in charge.net_taxes.values())
        if charge.net == 0:
            assert not any(charge.net_taxes.values()) or not charge.notes


def test_an_error_is_replaced_by_what_is_right_and_a_gift_stays() -> None:
    note = ByHand(1, "C1", "error", Decimal(-40))
    standing = Standing(Decimal(60), {}, (note,))
    found = counted((Decimal(100), {}), (Decimal(70), {}), standing)
    assert found is not None
    assert (found.amount, found.notes) == (Decimal(40), ("C1",))
    gift = ByHand(1, "C1", "goodwill", Decimal(-40))
    kept = counted((Decimal(100), {}), (Decimal(70), {}), Standing(Decimal(60), {}, (gift,)))
    assert kept is not None
    assert kept.amount == 0
    more = counted((Decimal(100), {}), (Decimal(30), {}), Standing(Decimal(60), {}, (gift,)))
    assert more is not None
    assert more.amount == 10
    assert settled_at(Decimal(-5), {}, [gift]) == (Decimal(-5), {})
    assert counted((Decimal(1), {}), (Decimal(2), {}), Standing(Decimal(1))) is None


def test_a_tax_that_alone_changes_leaves_what_a_note_gave() -> None:
    note = ByHand(1, "C1", "error", Decimal("-109.00"), {"vat": Decimal("-9.00")})
    standing = Standing(Decimal("981.00"), {"vat": Decimal("81.00")}, (note,))
    found = counted((Decimal(1090), {"vat": Decimal(90)}), (Decimal(1090), {}), standing)
    assert found is not None
    assert found.amount == 0
    assert found.taxes == {"vat": Decimal(9)}


def test_taxes_on_top_have_lines_of_their_own() -> None:
    charge = Decimal(1090), {"vat": Decimal(90)}
    standing = Standing(*charge)
    assert tax_of_part(Decimal(-100), charge, standing, ("vat",), 2) == {}
    assert tax_of_part(Decimal(-109), charge, standing, (), 2) == {"vat": Decimal("-9.00")}
    assert tax_of_part(Decimal(-1090), charge, standing, (), 2) == {"vat": Decimal("-90.00")}
    nothing = Standing(ZERO)
    assert tax_of_part(Decimal(-1), charge, nothing, (), 2) == {}
    assert tax_of_part(Decimal(109), charge, nothing, (), 2) == {"vat": Decimal("9.00")}
