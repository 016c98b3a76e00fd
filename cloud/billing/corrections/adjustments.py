"""What a charge was, what it should have been, and the lines that make up the difference: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from cloud.billing.records import Agreement
from cloud.kit.periods import Period

Cause = Literal["usage", "facts", "area", "terms", "concession", "persons"]
"""`usage`: what the meter counted became known otherwise; `facts`: persons, areas or dates were corrected; `area`: only
the floor area was; `terms`: a rent, its tax or its end was agreed otherwise, or a charge taken back; `concession`: one
was granted for days before; `persons`: other persons were filed for days before."""

_CARRIED = frozenset(
    {"carry", "opening", "closing", "registers", "agreed", "contained_taxes", "estimate", "bill_limits"}
)
"""Inputs that say nothing by themselves: boundary readings and estimates are in the quantities, what is carried and
what is left of a limit comes from before, and a contained tax follows from the amount."""

_KEY = ("kind", "component", "tier", "time_period", "season", "unit", "price")
_CONCEDED = ("concession", "package")
_SAID = (*_CONCEDED, "rule", "name", "description")
"""What a line says of itself that the line which corrects it says too."""


@dataclass(frozen=True, slots=True)
class ChargeState:
    """A charge as it stands: as it was billed, or by its latest revision (`revision` 0: as billed).

    `bill_period` is all that its bill charges of the agreement in one stretch. `lines` have the columns of bill lines;
    `positions` tells where on the original bill a line of this key stands.
    """

    charge_id: int
    account_id: int
    bill_id: int
    bill_number: str | None
    agreement: Agreement
    period: Period
    bill_period: Period
    tariff_version_id: int | None
    meter_id: int | None
    revision: int
    quantity: int | None
    amount: Decimal
    exact_amount: Decimal
    inputs: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    positions: Mapping[tuple[object, ...], int] = field(default_factory=dict)
    taxes: Mapping[str, Decimal | str] = field(default_factory=dict)

    @property
    def issued(self) -> bool:
        """Whether its bill is: what is a draft is no fact yet."""
        return self.bill_number is not None

    @property
    def estimated(self) -> bool:
        """Whether its quantity is an estimate, as it stands."""
        return "estimate" in self.inputs


def differs(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a charge rests on other facts than before, what other charges carry over to it aside."""
    return any(before.get(key) != after.get(key) for key in (before.keys() | after.keys()) - _CARRIED)


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much a line of a charge changed. `quantity` and `amount` are what was and what is now."""

    key: tuple[object, ...]
    quantity: tuple[Decimal | None, Decimal | None]
    amount: tuple[Decimal, Decimal]
    said: Mapping[str, object] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether quantity or amount is another one."""
        was, now = self.quantity
        return (was or 0) != (now or 0) or self.amount[0] != self.amount[1]

    @property
    def named(self) -> dict[str, Any]:
        """What makes the line the same one before and after: kind, component, tier, hours, unit, price, concession."""
        return dict(zip((*_KEY, *_CONCEDED), self.key, strict=True))

    @property
    def kind(self) -> str:
        """Kind of the line."""
        return str(self.named["kind"])

    @property
    def component(self) -> str:
        """Code of the component in its tariff."""
        return str(self.named["component"])

    def row(self, state: ChargeState) -> dict[str, Any]:
        """The line of a bill that corrects it, naming the original bill, line and period."""
        named = self.named
        was, now = self.quantity
        more = None if was is None and now is None else (now or Decimal(0)) - (was or Decimal(0))
        return {
            "component": named["component"],
            "tier": named["tier"],
            "time_period": named["time_period"],
            "season": named["season"],
            "unit": named["unit"],
            "price": named["price"],
            "quantity": more,
            "amount": self.amount[1] - self.amount[0],
            "detail": {
                **self.said,
                "of": named["kind"],
                "bill": state.bill_number,
                "bill_id": state.bill_id,
                "line": state.positions.get(self.key),
                "period": str(state.period),
                "was": {"quantity": was, "amount": self.amount[0]},
                "now": {"quantity": now, "amount": self.amount[1]},
                **({"of_estimate": state.inputs["estimate"]["kind"]} if state.estimated else {}),
            },
        }


def line_key(line: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes two lines of a charge the same one: all but quantity and amount, also whose concession it is."""
    price = _decimal(line.get("price"))
    values = {**line, "price": None if price is None else format(price.normalize(), "f")}
    detail = line.get("detail") or {}
    return (*(values.get(name) for name in _KEY), *(detail.get(name) for name in _CONCEDED))


def differences(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The lines that changed, in the order of the charge; their amounts add up to the difference of the charge."""
    return [one for one in compared(before, after) if one.changed]


def compared(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """All lines of a charge as they were and are, those that are the same too."""
    old, new = _by_key(before), _by_key(after)
    said = {line_key(line): _said(line) for line in (*before, *after)}
    nothing: tuple[Decimal | None, Decimal] = (None, Decimal(0))
    found = []
    for key in dict.fromkeys([*old, *new]):
        (was, was_amount), (now, now_amount) = old.get(key, nothing), new.get(key, nothing)
        found.append(Difference(key, (was, now), (was_amount, now_amount), said[key]))
    return found


def _said(line: Mapping[str, Any]) -> dict[str, object]:
    detail = line.get("detail") or {}
    return {name: detail[name] for name in _SAID if name in detail}


def _by_key(lines: Iterable[Mapping[str, Any]]) -> dict[tuple[object, ...], tuple[Decimal | None, Decimal]]:
    found: dict[tuple[object, ...], tuple[Decimal | None, Decimal]] = {}
    for line in lines:
        key, quantity = line_key(line), _decimal(line.get("quantity"))
        known, amount = found.get(key, (None, Decimal(0)))
        both = quantity if known is None else known + (quantity or 0)
        found[key] = (both, amount + Decimal(line["amount"]))
    return found


def _decimal(value: Decimal | str | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def stretches(periods: Iterable[Period]) -> dict[Period, Period]:
    """For each period the whole stretch of periods without a gap that it is part of."""
    found: dict[Period, Period] = {}
    run: list[Period] = []
    for period in [*sorted(periods), None]:
        if run and (period is None or period.start != run[-1].end):
            found.update(dict.fromkeys(run, Period(run[0].start, run[-1].end)))
            run = []
        if period is not None:
            run.append(period)
    return found


def as_of(agreement: Agreement, inputs: Mapping[str, Any]) -> Agreement:
    """The agreement as it was when a charge was rated. `inputs` are those of the charge."""
    basis = inputs.get("basis", {})
    since, until = inputs.get("agreed", (agreement.valid_from, agreement.valid_until))
    area, capacity = Decimal(basis.get("area", 0)), int(basis.get("capacity_va", 0))
    return replace(
        agreement,
        valid_from=_day(since) or agreement.valid_from,
        valid_until=_day(until),
        capacity_va=capacity or None,
        area=area or None,
        single=bool(inputs.get("single", False)),
        time_of_use="registers" if "registers" in inputs else "intervals",
        registers=inputs.get("register_map"),
    )


def _day(value: date | str | None) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value
