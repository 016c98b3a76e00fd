"""One adjustment beside what it corrects: all lines of the charge as they were and are, and what made it differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

from cloud.billing import repository
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.adjustments import Difference, compared
from cloud.billing.corrections.repository import Adjustment
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import Period
from cloud.metering.readings.listing import ListedReading, ReadingFilter, list_readings

# What held before is the revision before, or the charge as it was billed.
_HISTORY: LiteralString = """
    SELECT c.meter_id, a.lines, a.inputs, p.lines AS old_lines,
           coalesce(p.created_at, b.issued_on::timestamp AT TIME ZONE j.time_zone) AS since,
           coalesce(p.inputs, (SELECT one FROM jsonb_array_elements(b.inputs -> 'charges') AS one
                               WHERE (one ->> 'agreement')::bigint = c.agreement_id
                                 AND one ->> 'period' = lower(c.period) || '/' || upper(c.period) LIMIT 1),
                    '{}') AS old_inputs,
           a.opening_at, a.opening_value, a.closing_at, a.closing_value,
           CASE WHEN p.id IS NULL THEN c.opening_at ELSE p.opening_at END AS old_opening_at,
           CASE WHEN p.id IS NULL THEN c.opening_value ELSE p.opening_value END AS old_opening_value,
           CASE WHEN p.id IS NULL THEN c.closing_at ELSE p.closing_at END AS old_closing_at,
           CASE WHEN p.id IS NULL THEN c.closing_value ELSE p.closing_value END AS old_closing_value
    FROM adjustment a JOIN charge c ON c.id = a.charge_id JOIN bill b ON b.id = c.bill_id
    JOIN project j ON j.id = a.project_id
    LEFT JOIN adjustment p ON p.charge_id = a.charge_id AND p.revision = a.revision - 1
    WHERE a.id = %s
"""
_CHARGING: LiteralString = """
    SELECT DISTINCT b.id AS bill_id, b.number, b.account_id, lower(c.period) AS start, upper(c.period) AS end
    FROM charge c JOIN bill b ON b.id = c.bill_id AND b.state <> 'void'
    WHERE c.meter_id = %(meter_id)s AND c.period && daterange(%(first)s, %(last)s, '[]')
    ORDER BY start DESC, bill_id DESC LIMIT %(limit)s
"""
_OPEN_SUM: LiteralString = """
    SELECT sum(a.difference) AS amount FROM adjustment a
    WHERE a.account_id = %s AND a.difference <> 0
      AND NOT EXISTS (SELECT FROM billed_adjustment d WHERE d.adjustment_id = a.id)
"""
_MOST_BILLS = 20
_AROUND = timedelta(hours=1)
"""A boundary reading may be taken a little before or after the boundary."""
_FACTS = (("persons", "persons"), ("area", "basis.area"), ("capacity_va", "basis.capacity_va"))


@dataclass(frozen=True, slots=True)
class Boundary:
    """A reading at the beginning or end of a charge, in the base unit before the multiplier; None: none is cited."""

    taken_at: datetime | None
    value: int | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A fact of a charge as it was and as it is; `name` is `persons`, `area` or `capacity_va`."""

    name: str
    was: Decimal
    now: Decimal


@dataclass(frozen=True, slots=True)
class History:
    """An adjustment and what it came from. `lines` are all of the charge; `opening` and `closing` were and are.

    `since`: when what held before was made; of a bill the day of its issue.
    """

    adjustment: Adjustment
    meter_id: int | None
    since: datetime
    lines: tuple[Difference, ...]
    opening: tuple[Boundary, Boundary]
    closing: tuple[Boundary, Boundary]
    facts: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class ChargingBill:
    """A bill that charges usage of a meter over a period; a draft has no number."""

    bill_id: int
    number: str | None
    account_id: int
    period: Period


async def charging_bills(conn: Conn, meter_id: int, first: date, last: date) -> list[ChargingBill]:
    """Bills that charge usage of a meter on local days from `first` to and with `last`, newest first; 20 at most."""
    query = {"meter_id": meter_id, "first": first, "last": last, "limit": _MOST_BILLS}
    rows = await (await conn.execute(_CHARGING, query)).fetchall()
    return [ChargingBill(period=Period(row.pop("start"), row.pop("end")), **row) for row in rows]


async def open_adjustments(conn: Conn, account_id: int) -> Decimal | None:
    """What the adjustments come to that no bill of an account has taken up yet; None where there are none."""
    row = await (await conn.execute(_OPEN_SUM, (account_id,))).fetchone()
    return None if row is None else row["amount"]


async def adjustment_history(conn: Conn, adjustment_id: int) -> History:
    """One adjustment with all that explains it. Raises NotFound."""
    adjustment = await adjustments_repository.adjustment(conn, adjustment_id)
    if adjustment is None:
        raise NotFound("no-such-adjustment", f"there is no adjustment {adjustment_id}", field="adjustment_id")
    row = await (await conn.execute(_HISTORY, (adjustment_id,))).fetchone()
    assert row is not None
    before = row["old_lines"]
    if before is None:
        before = await _billed_lines(conn, adjustment)
    return History(
        adjustment,
        row["meter_id"],
        row["since"],
        tuple(compared(before, row["lines"])),
        _boundaries(row, "opening"),
        _boundaries(row, "closing"),
        tuple(_facts(row["old_inputs"], row["inputs"])),
    )


async def changed_readings(conn: Conn, history: History, zone: ZoneInfo) -> list[ListedReading]:
    """Readings in the time of the charge that came or were edited after it, newest first: of the last 500 at most."""
    adjustment = history.adjustment
    if history.meter_id is None or adjustment.channel is None:
        return []
    start, end = adjustment.period.instants(zone)
    wanted = ReadingFilter(history.meter_id, adjustment.channel, start - _AROUND, end + _AROUND)
    found = (await list_readings(conn, PageRequest(MAX_LIMIT), wanted)).items
    return [one for one in found if _is_new(one, history.since, adjustment.created_at)]


def _is_new(one: ListedReading, since: datetime, until: datetime) -> bool:
    """Whether it came, or was edited, between these instants."""
    edited_at = one.edit.created_at if one.edit is not None else None
    return since <= one.reading.received_at <= until or (edited_at is not None and since <= edited_at <= until)


async def _billed_lines(conn: Conn, adjustment: Adjustment) -> Sequence[Mapping[str, Any]]:
    found = await repository.lines(conn, adjustment.original_bill_id)
    names = ("kind", "component", "tier", "time_period", "season", "unit", "price", "quantity", "amount", "detail")
    return [
        {name: getattr(line, name) for name in names}
        for line in found
        if line.charge_id == adjustment.charge_id and line.kind != "adjustment"
    ]


def _boundaries(row: Mapping[str, Any], end: str) -> tuple[Boundary, Boundary]:
    return (
        Boundary(row[f"old_{end}_at"], row[f"old_{end}_value"]),
        Boundary(row[f"{end}_at"], row[f"{end}_value"]),
    )


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Changed]:
    """What was filed otherwise."""
    found = []
    for name, path in _FACTS:
        was, now = _at(before, path), _at(after, path)
        if was != now:
            found.append(Changed(name, was, now))
    return found


def _at(inputs: Mapping[str, Any], path: str) -> Decimal:
    value: Any = inputs
    for key in path.split("."):
        value = value.get(key, 0) if isinstance(value, Mapping) else 0
    return Decimal(value or 0)
