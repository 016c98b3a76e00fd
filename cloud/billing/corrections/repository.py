"""SQL of re-rating: what came late, charges as they stand, adjustments and which bill they are on."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.corrections.adjustments import Cause, ChargeState, line_key, stretches
from cloud.billing.records import Agreement
from cloud.kit.db import Conn
from cloud.kit.periods import Period

_STATE: LiteralString = """
    SELECT c.id AS charge_id, b.account_id, c.bill_id, b.number AS bill_number, c.agreement_id, c.service,
           v.tariff_id, a.meter_id AS agreed_meter_id, a.unit_id, lower(a.valid) AS valid_from,
           upper(a.valid) AS valid_until, a.capacity_va, a.area, a.single, a.time_of_use, a.registers,
           c.project_id,
           lower(c.period) AS start, upper(c.period) AS end, c.tariff_version_id, c.meter_id,
           coalesce(r.revision, 0) AS revision, coalesce(r.quantity, c.quantity) AS quantity,
           coalesce(r.amount, c.amount) AS amount, coalesce(r.exact_amount, c.exact_amount) AS exact_amount,
           coalesce(r.taxes, c.taxes) AS taxes, a.kind, a.amount AS agreed_amount, a.description,
           a.taken_back_at IS NOT NULL AS taken_back, r.inputs, r.lines
    FROM charge c
    JOIN bill b ON b.id = c.bill_id AND b.state <> 'void'
    JOIN service_agreement a ON a.id = c.agreement_id
    LEFT JOIN tariff_version v ON v.id = c.tariff_version_id
    LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
"""
_ORDER: LiteralString = " ORDER BY c.agreement_id, c.period"
# Whole stretches of a bill: a tier window may be the bill itself.
_OF_METERS: LiteralString = (
    _STATE
    + """
    WHERE EXISTS (SELECT FROM charge t
                  JOIN unnest(%(meters)s::bigint[], %(since)s::date[]) AS w (meter_id, since) ON w.meter_id = t.meter_id
                  WHERE t.agreement_id = c.agreement_id AND t.bill_id = c.bill_id AND upper(t.period) > w.since)
"""
    + _ORDER
)
_OF_ACCOUNT: LiteralString = (
    _STATE
    + """
    WHERE EXISTS (SELECT FROM charge t JOIN service_agreement ta ON ta.id = t.agreement_id
                  WHERE ta.account_id = %(account_id)s AND t.agreement_id = c.agreement_id AND t.bill_id = c.bill_id
                    AND upper(t.period) > %(since)s)
      AND c.tariff_version_id IS NOT NULL
"""
    + _ORDER
)
_OF_UNIT: LiteralString = (
    _STATE
    + """
    WHERE EXISTS (SELECT FROM charge t JOIN service_agreement ta ON ta.id = t.agreement_id
                  JOIN account tp ON tp.id = ta.account_id
                  WHERE coalesce(ta.unit_id, tp.unit_id) = %(unit_id)s AND t.agreement_id = c.agreement_id
                    AND t.bill_id = c.bill_id AND upper(t.period) > %(since)s)
      AND c.tariff_version_id IS NOT NULL
"""
    + _ORDER
)
_OF_AGREEMENTS: LiteralString = (
    _STATE
    + """
    WHERE EXISTS (SELECT FROM charge t
                  JOIN unnest(%(agreements)s::bigint[], %(since)s::date[]) AS w (id, since) ON w.id = t.agreement_id
                  WHERE t.agreement_id = c.agreement_id AND t.bill_id = c.bill_id AND upper(t.period) > w.since)
"""
    + _ORDER
)
_AGREED: LiteralString = (
    _STATE
    + """
    WHERE c.tariff_version_id IS NULL AND upper(c.period) > %(since)s
      AND (c.agreement_id = %(agreement_id)s OR a.account_id = %(account_id)s)
"""
    + _ORDER
)
_INPUTS: LiteralString = "SELECT id, inputs -> 'charges' AS charges FROM bill WHERE id = ANY (%s)"
_LINES: LiteralString = """
    SELECT l.charge_id, l.position, l.kind, l.component, l.tier, l.time_period, l.season, l.unit, l.price, l.quantity,
           l.amount, l.detail
    FROM bill_line l JOIN charge c ON c.id = l.charge_id AND c.bill_id = l.bill_id
    WHERE l.charge_id = ANY (%s) ORDER BY l.charge_id, l.position
"""
_INSERT: LiteralString = """
    INSERT INTO adjustment (project_id, account_id, charge_id, revision, cause, old_quantity, quantity, old_amount,
                            amount, exact_amount, opening_at, opening_value, closing_at, closing_value, engine_version,
                            inputs, lines, differences, taxes, old_taxes, estimate, estimated_days, counted,
                            counted_taxes)
    SELECT project_id, account_id, charge_id, revision, cause, old_quantity, quantity, old_amount, amount, exact_amount,
           opening_at, opening_value, closing_at, closing_value, engine_version, inputs, lines, differences, taxes,
           old_taxes, estimate, estimated_days, counted, counted_taxes
    FROM jsonb_to_recordset(%s) AS new (project_id bigint, account_id bigint, charge_id bigint, revision int,
                                        cause text, old_quantity bigint, quantity bigint, old_amount numeric,
                                        amount numeric, exact_amount numeric, opening_at timestamptz,
                                        opening_value bigint, closing_at timestamptz, closing_value bigint,
                                        engine_version text, inputs jsonb, lines jsonb, differences jsonb,
                                        taxes jsonb, old_taxes jsonb, estimate text, estimated_days int,
                                        counted numeric, counted_taxes jsonb)
    ORDER BY charge_id
"""
_ADJUSTMENT: LiteralString = """
    SELECT a.id, a.project_id, a.account_id, a.charge_id, a.revision, a.cause, c.service, c.channel,
           lower(c.period) AS start, upper(c.period) AS end, c.bill_id AS original_bill_id, o.number AS original_number,
           o.currency, a.old_quantity, a.quantity, a.old_amount, a.amount, a.counted, a.difference, a.differences,
           a.created_at,
           n.id AS bill_id, n.number AS bill_number, n.state AS bill_state
    FROM adjustment a
    JOIN charge c ON c.id = a.charge_id
    JOIN bill o ON o.id = c.bill_id
    LEFT JOIN billed_adjustment d ON d.adjustment_id = a.id
    LEFT JOIN bill n ON n.id = d.bill_id
"""
_LIST: LiteralString = (
    _ADJUSTMENT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR a.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR a.account_id = %(account_id)s)
      AND (%(service)s::text IS NULL OR c.service = %(service)s)
      AND (%(days)s::daterange IS NULL OR c.period && %(days)s::daterange)
      AND (%(state)s::text IS NULL
           OR %(state)s = CASE WHEN a.difference = 0 THEN 'none' WHEN n.id IS NULL THEN 'open'
                               WHEN n.state = 'draft' THEN 'drafted' ELSE 'billed' END)
      AND (%(before)s::bigint IS NULL OR a.id < %(before)s)
    ORDER BY a.id DESC LIMIT %(limit)s
"""
)
_OPEN: LiteralString = (
    _ADJUSTMENT
    + """
    WHERE a.account_id = ANY (%(account_ids)s) AND d.bill_id IS NULL
      AND a.difference <> 0
    ORDER BY a.account_id, a.id FOR UPDATE OF a
"""
)
_ACCOUNTS_WITH_OPEN: LiteralString = """
    SELECT DISTINCT a.account_id FROM adjustment a
    WHERE a.project_id = %s AND a.difference <> 0
      AND NOT EXISTS (SELECT FROM billed_adjustment d WHERE d.adjustment_id = a.id)
    ORDER BY a.account_id
"""
_BILL: LiteralString = """
    INSERT INTO billed_adjustment (adjustment_id, project_id, bill_id)
    SELECT adjustment_id, project_id, bill_id
    FROM jsonb_to_recordset(%s) AS new (adjustment_id bigint, project_id bigint, bill_id bigint)
"""


AdjustmentState = Literal["none", "open", "drafted", "billed"]


@dataclass(frozen=True, slots=True)
class AdjustmentFilter:
    """Which adjustments are wanted; None: any. `days`: of charges of some of these local days."""

    project_id: int | None = None
    account_id: int | None = None
    service: str | None = None
    days: Period | None = None
    state: AdjustmentState | None = None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One revision of a charge. `bill_id` is the bill or note that it is on, None while it is open.

    `counted`: what it takes back of what notes by hand have given of the charge; `difference` includes it.
    """

    id: int
    project_id: int
    account_id: int
    charge_id: int
    revision: int
    cause: Cause
    service: str
    channel: int | None
    period: Period
    original_bill_id: int
    original_number: str
    currency: str
    old_quantity: int | None
    quantity: int | None
    old_amount: Decimal
    amount: Decimal
    counted: Decimal
    difference: Decimal
    differences: list[dict[str, Any]]
    created_at: datetime
    bill_id: int | None
    bill_number: str | None
    bill_state: str | None

    @property
    def state(self) -> AdjustmentState:
        """`none`: nothing to pay or credit; `open`: for the next bill; `drafted`; `billed`."""
        if not self.difference:
            return "none"
        if self.bill_id is None:
            return "open"
        return "drafted" if self.bill_state == "draft" else "billed"


async def states_of_meters(conn: Conn, since: Mapping[int, date]) -> list[ChargeState]:
    """Charges by these meters of days from the given one on, by agreement and time, with all of the same bill."""
    query = {"meters": list(since), "since": list(since.values())}
    return await _states(conn, await (await conn.execute(_OF_METERS, query)).fetchall())


async def states_of_account(conn: Conn, account_id: int, since: date) -> list[ChargeState]:
    """All charges of an account of days from `since` on."""
    query = {"account_id": account_id, "since": since}
    return await _states(conn, await (await conn.execute(_OF_ACCOUNT, query)).fetchall())


async def states_of_unit(conn: Conn, unit_id: int, since: date) -> list[ChargeState]:
    """All charges for a unit, whoever pays, of days from `since` on."""
    query = {"unit_id": unit_id, "since": since}
    return await _states(conn, await (await conn.execute(_OF_UNIT, query)).fetchall())


async def states_of_agreements(conn: Conn, since: Mapping[int, date]) -> list[ChargeState]:
    """Charges of these agreements of days from the given one on, with all of the same bill."""
    query = {"agreements": list(since), "since": list(since.values())}
    return await _states(conn, await (await conn.execute(_OF_AGREEMENTS, query)).fetchall())


async def agreed_states(
    conn: Conn, since: date, *, agreement_id: int | None = None, account_id: int | None = None
) -> list[ChargeState]:
    """Charges of days from `since` on that go by no tariff, of an agreement or of an account, by agreement and time."""
    query = {"agreement_id": agreement_id, "account_id": account_id, "since": since}
    return await _states(conn, await (await conn.execute(_AGREED, query)).fetchall())


async def _states(conn: Conn, rows: Sequence[dict[str, Any]]) -> list[ChargeState]:
    inputs = await _inputs(conn, sorted({row["bill_id"] for row in rows}))
    lines: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in await (await conn.execute(_LINES, ([row["charge_id"] for row in rows],))).fetchall():
        lines[line.pop("charge_id")].append(line)
    bills: dict[tuple[int, int], list[Period]] = defaultdict(list)
    for row in rows:
        bills[row["agreement_id"], row["bill_id"]].append(Period(row["start"], row["end"]))
    whole = {key: stretches(periods) for key, periods in bills.items()}
    found = []
    for row in rows:
        period, original = Period(row["start"], row["end"]), lines[row["charge_id"]]
        found.append(
            ChargeState(
                charge_id=row["charge_id"],
                account_id=row["account_id"],
                bill_id=row["bill_id"],
                bill_number=row["bill_number"],
                agreement=_agreement(row),
                period=period,
                bill_period=whole[row["agreement_id"], row["bill_id"]][period],
                tariff_version_id=row["tariff_version_id"],
                meter_id=row["meter_id"],
                revision=row["revision"],
                quantity=row["quantity"],
                amount=row["amount"],
                exact_amount=row["exact_amount"],
                inputs=row["inputs"] or inputs.get((row["bill_id"], row["agreement_id"], str(period)), {}),
                lines=row["lines"] if row["lines"] is not None else original,
                taxes=row["taxes"],
                positions={line_key(line): line["position"] for line in reversed(original)},
            )
        )
    return found


def _agreement(row: Mapping[str, Any]) -> Agreement:
    return Agreement(
        id=row["agreement_id"],
        project_id=row["project_id"],
        account_id=row["account_id"],
        service=row["service"],
        tariff_id=row["tariff_id"],
        meter_id=row["meter_id"] or row["agreed_meter_id"],
        unit_id=row["unit_id"],
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        capacity_va=row["capacity_va"],
        area=row["area"],
        single=row["single"],
        kind=row["kind"],
        amount=row["agreed_amount"],
        description=row["description"],
        taken_back=row["taken_back"],
        time_of_use=row["time_of_use"],
        registers=row["registers"],
    )


async def _inputs(conn: Conn, bill_ids: Sequence[int]) -> dict[tuple[int, int, str], dict[str, Any]]:
    """Inputs of charges by bill, agreement and period."""
    rows = await (await conn.execute(_INPUTS, (list(bill_ids),))).fetchall()
    return {(row["id"], one["agreement"], one["period"]): one for row in rows for one in row["charges"] or ()}


async def insert(conn: Conn, rows: Sequence[Mapping[str, object]]) -> None:
    """New revisions. Raises psycopg UniqueViolation where another re-rating started from the same state."""
    if rows:
        await conn.execute(_INSERT, (Jsonb(list(rows)),))


async def adjustment(conn: Conn, adjustment_id: int) -> Adjustment | None:
    """One adjustment."""
    row = await (await conn.execute(_ADJUSTMENT + "WHERE a.id = %s", (adjustment_id,))).fetchone()
    return None if row is None else _adjustment(row)


async def adjustments(conn: Conn, wanted: AdjustmentFilter, *, before: int | None, limit: int) -> list[Adjustment]:
    """Adjustments, newest first."""
    days = None if wanted.days is None else f"[{wanted.days.start},{wanted.days.end})"
    query = {
        "project_id": wanted.project_id,
        "account_id": wanted.account_id,
        "service": wanted.service,
        "days": days,
        "state": wanted.state,
        "before": before,
        "limit": limit,
    }
    return [_adjustment(row) for row in await (await conn.execute(_LIST, query)).fetchall()]


async def open_of_accounts(conn: Conn, account_ids: Sequence[int]) -> list[Adjustment]:
    """What no bill has taken up yet, by account and id, locked."""
    query = {"account_ids": list(account_ids)}
    return [_adjustment(row) for row in await (await conn.execute(_OPEN, query)).fetchall()]


async def accounts_with_open(conn: Conn, project_id: int) -> list[int]:
    """Accounts with adjustments that no bill has taken up yet, by id."""
    return [row["account_id"] for row in await (await conn.execute(_ACCOUNTS_WITH_OPEN, (project_id,))).fetchall()]


async def mark_billed(conn: Conn, bills: Mapping[int, int], project_id: int) -> None:
    """Which bill (by adjustment) takes them up. Raises psycopg UniqueViolation where one has been taken up already."""
    rows = [{"adjustment_id": one, "project_id": project_id, "bill_id": bill_id} for one, bill_id in bills.items()]
    await conn.execute(_BILL, (Jsonb(rows),))


def _adjustment(row: dict[str, Any]) -> Adjustment:
    return Adjustment(period=Period(row.pop("start"), row.pop("end")), **row)
