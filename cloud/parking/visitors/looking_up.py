"""What a plate owes now, for somebody who is not signed in: amounts and rounded times, and nothing else."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from cloud.kit.db import Conn
from cloud.parking.charging.debts import owing
from cloud.parking.charging.online import due_inside
from cloud.parking.records import Debt

_ROUNDED: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Owed:
    """Something to pay. `since`: when the vehicle came, rounded down; where nobody saw it come (`came` false), when it
    left or was first seen.

    `over`: it left without paying.
    """

    since: datetime
    amount: Decimal
    over: bool
    came: bool = True


@dataclass(frozen=True, slots=True)
class OwedByPlate:
    """All that a plate owes; nothing for one that is unknown, that costs nothing so far, or that nobody can price."""

    plate: str
    currency: str
    owed: tuple[Owed, ...]

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum((one.amount for one in self.owed), Decimal(0))


async def look_up(conn: Conn, project_id: int, plate: str, currency: str, now: datetime) -> OwedByPlate:
    """What is to pay for a plate, as `valid_plate` gives it."""
    inside = await due_inside(conn, project_id, plate, now)
    found = [
        Owed(_rounded(session.entered_at), price.due, over=False, came=session.entry_seen)
        for session, price in inside
        if session.entered_at
    ]
    debts = (await owing(conn, project_id, [plate])).get(plate, [])
    found += [_left_unpaid(debt) for debt in debts]
    return OwedByPlate(plate, currency, tuple(found))


def _left_unpaid(debt: Debt) -> Owed:
    return Owed(_rounded(debt.entered_at or debt.left_at), debt.due, over=True, came=debt.entered_at is not None)


def _rounded(instant: datetime) -> datetime:
    return instant - (instant - datetime.fromtimestamp(0, instant.tzinfo)) % _ROUNDED
