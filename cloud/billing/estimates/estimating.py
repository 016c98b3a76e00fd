"""Charges whose quantity is estimated: what a run may estimate, why a piece needs it, and what the bill says of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, Literal, LiteralString

from cloud.billing.charges.pieces import Piece, Unbillable
from cloud.billing.records import EstimateKind
from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.metering.periods.estimates import EstimatedUsage

if TYPE_CHECKING:
    from cloud.billing.charges.facts import Facts

OpenExceptions = Literal["ask", "bill", "estimate"]
"""Accounts whose readings have open findings: left out, billed by these readings, or what is in doubt is estimated."""
MissingReadings = Literal["ask", "estimate"]
"""Accounts without readings at both ends of the period: left out, or what is missing is estimated."""

ABSENCES: Final = frozenset({"gap", "prolonged-estimate"})
"""Rules that tell that readings are missing: no doubt about those that are there."""
_DAY_S = 86_400

# What holds of a charge is its latest revision.
_RECENT: LiteralString = """
    SELECT c.agreement_id, c.bill_id, lower(c.period) AS start, upper(c.period) AS end,
           CASE WHEN r.id IS NULL THEN c.estimate ELSE r.estimate END AS estimate
    FROM charge c
    JOIN bill b ON b.id = c.bill_id AND b.state <> 'void'
    LEFT JOIN LATERAL (SELECT id, estimate FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r
        ON true
    WHERE c.agreement_id = ANY (%s)
    ORDER BY c.agreement_id, c.period DESC
"""


@dataclass(frozen=True, slots=True)
class EstimatePolicy:
    """What may be estimated. `limit`: so many bills in a row at most; None: any number.

    `today`: nothing of this day or later is estimated for want of readings; None: of any day.
    """

    open_exceptions: OpenExceptions = "ask"
    missing_readings: MissingReadings = "ask"
    limit: int | None = None
    today: date | None = None

    def is_ahead(self, piece: Piece) -> bool:
        """Whether the piece is not over: what will be used is nothing to bill."""
        return self.today is not None and piece.period.end > self.today


CAUTIOUS: Final = EstimatePolicy()


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far a quantity is an estimate, and why.

    `kind`: `open` while no reading bounds it, `between` where it is a share of the advance between two readings.
    `reason`: the code for which the piece could not be billed by readings; `rules`: of the findings in doubt.
    `method`: the highest rung of the ladder (docs/estimation.md). `measured` and `estimated` in the base unit add up
    to what was used between the ends of the period.
    """

    kind: EstimateKind
    reason: str
    rules: tuple[str, ...]
    method: int
    days: int
    measured: int
    estimated: int

    @classmethod
    def of(cls, found: EstimatedUsage, reason: Unbillable, rules: Sequence[str]) -> "Estimate":
        """What is told of an estimate that was made for `reason`."""
        kind: EstimateKind = "open" if found.open_s or rules else "between"
        days = max(-(-found.estimated_s // _DAY_S), 1)
        return cls(kind, reason.code, tuple(rules), found.method, days, found.measured, found.estimated)

    @classmethod
    def kept(cls, inputs: Mapping[str, Any]) -> "Estimate":
        """As the inputs of a bill keep it."""
        return cls(**{**inputs, "rules": tuple(inputs["rules"])})

    def inputs(self) -> dict[str, Any]:
        """As the inputs of a bill keep it."""
        return {**asdict(self), "rules": list(self.rules)}

    def told(self) -> dict[str, Any]:
        """What each line of usage says of it."""
        return {"kind": self.kind, "reason": self.reason, "method": self.method, "days": self.days}


def why_not_measured(piece: Piece, facts: "Facts") -> Unbillable | None:
    """Why the usage of a metered piece cannot be billed by readings; None where it can."""
    service, meter = piece.agreement.service, facts.meters[piece.agreement.meter_id or 0]
    for doubt in facts.doubts(piece):
        return Unbillable("open-exceptions", f"{service}: meter {meter.code} has an open finding: {doubt.rule}")
    for day, found in zip((piece.period.start, piece.period.end), facts.ends(piece), strict=True):
        if found is None:
            return Unbillable("missing-reading", f"{service}: meter {meter.code} has no reading at the start of {day}")
    if not facts.usage(piece).complete:
        return Unbillable(
            "incomplete-usage", f"{service}: usage of meter {meter.code} is not complete in {piece.period}"
        )
    return None


def not_over(piece: Piece) -> Unbillable:
    """Why a piece may not be estimated of which not all days are over."""
    return Unbillable("not-over", f"{piece.agreement.service}: {piece.period} is not over: nothing is estimated ahead")


def too_often(piece: Piece, estimated_before: int, limit: int | None) -> Unbillable | None:
    """Why a further bill may not be estimated; None where it may."""
    if limit is None or estimated_before < limit:
        return None
    service = piece.agreement.service
    return Unbillable(
        "estimated-too-often",
        f"{service}: {estimated_before} bills in a row were estimated, at most {limit} may be: read the meter",
    )


@dataclass(frozen=True, slots=True)
class Recent:
    """A charge of an agreement and what holds of it."""

    bill_id: int
    period: Period
    estimate: EstimateKind | None


def in_a_row(recent: Sequence[Recent], day: date) -> int:
    """How many bills directly before `day` rest on open estimates. `recent`: of one agreement, latest first."""
    bills, reached = set(), day
    for one in recent:
        if one.period.start >= reached:
            continue
        if one.period.end != reached or one.estimate != "open":
            break
        bills.add(one.bill_id)
        reached = one.period.start
    return len(bills)


async def recent_charges(conn: Conn, agreement_ids: Sequence[int]) -> dict[int, list[Recent]]:
    """What was charged of these agreements, latest first."""
    found: dict[int, list[Recent]] = {one: [] for one in agreement_ids}
    for row in await (await conn.execute(_RECENT, (list(agreement_ids),))).fetchall():
        period = Period(row["start"], row["end"])
        found[row["agreement_id"]].append(Recent(row["bill_id"], period, row["estimate"]))
    return found
