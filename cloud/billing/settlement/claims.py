"""What an account owes by date, and which of it money pays: oldest due first, instalments instead of their bills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Debt:
    """What may be paid of a bill: its unpaid principal without what is disputed."""

    bill_id: int
    due_on: date
    payable: Decimal


@dataclass(frozen=True, slots=True)
class Instalment:
    """A part of a plan and when it is due."""

    number: int
    due_on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Schedule:
    """The bills of an active plan, in the order they are paid, its instalments, and what was paid of them so far."""

    bill_ids: tuple[int, ...]
    instalments: tuple[Instalment, ...]
    paid: Decimal = _NONE


def share_of_principal(
    money: Decimal, debts: Sequence[Debt], on: date, schedule: Schedule | None = None
) -> dict[int, Decimal]:
    """How much of each bill `money` pays, by bill, without bills of which it pays nothing.

    Debts are paid oldest due first (then by bill). Bills of a plan are not due at their own date any more: they are
    paid by instalments, in order. Instalments that are due `on` the day of payment come before everything else, since
    a missed one breaks the plan; later ones by their date, so that money for this month's bill does not go into next
    year's instalment.
    """
    open_ = {debt.bill_id: debt.payable for debt in debts}
    planned = set(schedule.bill_ids) if schedule else set()
    claims: list[tuple[date, int, int, tuple[int, ...], Decimal]] = [
        (debt.due_on, 1, debt.bill_id, (debt.bill_id,), debt.payable) for debt in debts if debt.bill_id not in planned
    ]
    if schedule:
        claims += [
            (date.min if due.due_on <= on else due.due_on, 0, due.number, schedule.bill_ids, rest)
            for due, rest in unpaid(schedule.instalments, schedule.paid)
        ]
    paid: dict[int, Decimal] = {}
    for *_, bill_ids, claimed in sorted(claims):
        for bill_id in bill_ids:
            part = min(money, claimed, open_.get(bill_id, _NONE))
            if part > 0:
                paid[bill_id] = paid.get(bill_id, _NONE) + part
                open_[bill_id] -= part
                money -= part
                claimed -= part
    return paid


def share_of_fees(money: Decimal, owed: Mapping[int, Decimal]) -> dict[int, Decimal]:
    """How much of the late fee of each bill `money` pays, in the order of `owed`."""
    paid: dict[int, Decimal] = {}
    for bill_id, amount in owed.items():
        if money > 0 and amount > 0:
            paid[bill_id] = min(money, amount)
            money -= paid[bill_id]
    return paid


def unpaid(instalments: Sequence[Instalment], paid: Decimal) -> list[tuple[Instalment, Decimal]]:
    """Instalments of which something is open after `paid` went into them in order, and how much."""
    found = []
    for one in instalments:
        part = min(paid, one.amount)
        paid -= part
        if part < one.amount:
            found.append((one, one.amount - part))
    return found
