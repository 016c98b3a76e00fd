"""Re-rating: charges whose usage became known otherwise are rated again, and with them all that build on them.

Charges are never touched. What differs becomes a revision of the charge (`adjustment`), and a later re-rating starts
from there: late data that come again and again converge to what a fresh rating gives. Facts of occupancy are those that
the bill was rated by, and concessions those that it knew, unless the cause is that one of them was filed for days
before. A charge without other facts than before keeps its amount, even where months that were billed out of order would
round otherwise today. An estimate keeps its quantity until readings bound it.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from cloud.billing.agreements import area_repository
from cloud.billing.agreements.rents import AreaStep
from cloud.billing.charges.drafts import Drafts, RatedPiece, rate_rounds
from cloud.billing.charges.facts import Facts
from cloud.billing.charges.filings import Filing, WindowParts
from cloud.billing.charges.limits import Cost, Stretch
from cloud.billing.charges.period_registers import register_readings
from cloud.billing.charges.pieces import Piece, Place, Unbillable, by_area
from cloud.billing.charges.rows import charge_inputs, charge_row, line_rows
from cloud.billing.charges.supplies import rounds
from cloud.billing.concessions.applying import concession_kept
from cloud.billing.concessions.reductions import Concession, applies
from cloud.billing.corrections.adjustments import Cause, ChargeState, as_of, differences, differs
from cloud.billing.corrections.revising import keep_revisions
from cloud.billing.corrections.sharing import (
    Sharing,
    builds_on,
    costs_kept,
    limited,
    one_after_another,
    sharing,
    stretch_of,
    with_those_that_share,
)
from cloud.billing.estimates.estimating import EstimatePolicy, OpenExceptions
from cloud.billing.records import Charged, Cited
from cloud.estate.records import Project
from cloud.kit.db import Conn, as_json
from cloud.kit.periods import Period
from cloud.tariffs import service as tariffs
from cloud.tariffs.rating.engine import ENGINE_VERSION
from cloud.tariffs.service import TariffVersion

_STANDING = ("opening", "closing", "registers", "estimate")
"""Inputs that a charge may change without another amount."""
_PERSONS_OF_NOW = ("facts", "persons")
"""Causes that go by the persons who are filed now."""


@dataclass(frozen=True, slots=True)
class Rerated:
    """How many charges came to another amount, and why accounts could not be rated again."""

    adjusted: int
    failures: dict[int, Unbillable]


class RevisedFacts(Facts):
    """Facts of charges that are rated again: what they themselves say of usage and boundaries is left aside."""

    def __init__(
        self, conn: Conn, project: Project, open_findings: OpenExceptions, states: Sequence[ChargeState], cause: Cause
    ) -> None:
        super().__init__(conn, project, EstimatePolicy(open_findings))
        self.billed = {_place(one): one.inputs for one in states if one.estimated}
        self._mine = {(one.agreement.id, one.period) for one in states}
        self._cited_by = {(one.meter_id, one.agreement.service, one.period) for one in states}
        self._persons_then: dict[Place, int] = {}
        self._conceded_then: dict[int, list[tuple[Period, list[Concession]]]] | None = None
        if cause != "concession":
            self._conceded_then = defaultdict(list)
            for one in states:
                then = [concession_kept(kept) for kept in one.inputs.get("concessions", ())]
                self._conceded_then[one.agreement.id].append((one.period, then))
        if cause not in _PERSONS_OF_NOW:
            self._persons_then = {_place(one): one.inputs["persons"] for one in states if "persons" in one.inputs}

    def remember(self, charged: Charged) -> None:
        """Earlier charges that are not rated again."""
        if (charged.agreement_id, charged.period) not in self._mine:
            super().remember(charged)

    def cite(self, cited: Cited) -> None:
        """Neighbours that are not rated again."""
        if (cited.meter_id, cited.service, cited.period) not in self._cited_by:
            super().cite(cited)

    def filings(self, piece: Piece) -> list[Filing]:
        """Persons that the bill was rated by, or those filed by now."""
        then = self._persons_then.get(piece.place)
        return super().filings(piece) if then is None else [Filing(date.min, None, then)]

    def concessions_for(self, piece: Piece) -> tuple[Concession, ...]:
        """Concessions that the bill knew, or those granted by now."""
        if self._conceded_then is None:
            return super().concessions_for(piece)
        service = piece.agreement.service
        return tuple(
            one
            for period, then in self._conceded_then[piece.agreement.id]
            if period.overlap(piece.period) is not None
            for one in then
            if applies(one, service, piece.period)
        )


@dataclass(frozen=True, slots=True)
class RevisedPiece(Piece):
    """A piece that is rated again. `parts`: what its bill went by of the tier window; None: what is filed by now."""

    parts: WindowParts | None = None

    def window_parts(self, filings: Sequence[Filing]) -> WindowParts:
        """What its tiers and household are given in the window."""
        return self.parts or Piece.window_parts(self, filings)


async def rerate(
    conn: Conn,
    project: Project,
    states: Sequence[ChargeState],
    *,
    cause: Cause = "usage",
    open_findings: OpenExceptions = "ask",
) -> Rerated:
    """Rates issued charges again and keeps what differs. `states` by agreement and time.

    `cause`: `facts` goes by the persons, areas and dates filed now, `area` by the areas, `persons` by the persons,
    `concession` by the concessions granted now; all else is as the bill was rated by. An account fails as a whole.
    Raises psycopg UniqueViolation where another re-rating was faster: begin anew.
    """
    issued = [one for one in await with_those_that_share(conn, states) if one.issued]
    if not issued:
        return Rerated(0, {})
    shared = sharing(issued)
    in_time = one_after_another(issued, shared)
    everything = await _rounds(conn, in_time, shared, cause)

    async def rate(costs: Mapping[Stretch, Cost]) -> tuple[Drafts, dict[Place, RatedPiece], list[dict[str, object]]]:
        facts = RevisedFacts(conn, project, open_findings, issued, cause)
        facts.costs = costs
        drafts = await rate_rounds(conn, facts, everything)
        rated = _whole(issued, [one for found in drafts.rated.values() for one in found])
        rows = [row for mine in in_time for row in _revisions(mine, shared, rated, cause, project.currency)]
        return drafts, rated, rows

    drafts, rated, rows = await rate({})
    revised = {row["charge_id"] for row in rows if "differences" in row}
    kept = costs_kept([one for one in issued if one.charge_id not in revised], shared, rated)
    if kept:
        drafts, _, rows = await rate(kept)
    await keep_revisions(conn, project, issued, rows)
    return Rerated(sum(row["amount"] != row["old_amount"] for row in rows), drafts.failures)


async def _rounds(
    conn: Conn, in_time: Sequence[Sequence[ChargeState]], shared: Sharing, cause: Cause
) -> list[list[Piece]]:
    states = [one for mine in in_time for one in mine]
    found = await tariffs.versions_of(conn, sorted({one.agreement.tariff for one in states}))
    versions = {version.id: version for of_tariff in found.values() for version in of_tariff}
    areas: Mapping[int, Sequence[AreaStep]] = {}
    if cause in ("facts", "area"):
        areas = await area_repository.of_agreements(conn, sorted({one.agreement.id for one in states}))

    def cut(state: ChargeState) -> list[Piece]:
        return list(_pieces(state, versions, cause, areas.get(state.agreement.id, ())))

    return rounds(limited([(one, cut(one)) for one in mine], shared) for mine in in_time)


def _pieces(
    state: ChargeState, versions: Mapping[int, TariffVersion], cause: Cause, areas: Sequence[AreaStep]
) -> Iterator[Piece]:
    """The charge as a piece, or as one for each floor area."""
    assert state.tariff_version_id is not None
    version = versions[state.tariff_version_id]
    if cause == "facts":
        whole = RevisedPiece(state.agreement, state.period, version, state.bill_period)
        yield from by_area(whole, [step.from_day for step in areas])
        return
    parts = state.inputs.get("window_parts")
    then = None if parts is None or cause == "persons" else WindowParts(**parts)
    agreement = as_of(state.agreement, state.inputs)
    if cause == "area":
        agreement = replace(agreement, area=state.agreement.area)
        whole = RevisedPiece(agreement, state.period, version, state.bill_period, parts=then)
        yield from by_area(whole, [step.from_day for step in areas])
        return
    kept = {date.fromisoformat(step["from_day"]): Decimal(step["area"]) for step in state.inputs.get("areas", ())}
    for piece in by_area(RevisedPiece(agreement, state.period, version, state.bill_period, parts=then), list(kept)):
        area = kept.get(piece.period.start, agreement.area)
        yield replace(piece, agreement=replace(agreement, area=area))


def _whole(states: Sequence[ChargeState], rated: Sequence[RatedPiece]) -> dict[Place, RatedPiece]:
    """What was rated by charge, put together where a charge was cut."""
    found: dict[Place, list[RatedPiece]] = defaultdict(list)
    charges = {agreement_id: [one.period for one in mine] for agreement_id, mine in _by_agreement(states).items()}
    for one in rated:
        periods = charges[one.agreement.id]
        (around,) = (period for period in periods if period.overlap(one.period) is not None)
        found[one.agreement.id, around.start].append(one)
    return {place: _together(parts) for place, parts in found.items()}


def _together(parts: Sequence[RatedPiece]) -> RatedPiece:
    first = parts[0]
    if len(parts) == 1:
        return first
    return replace(
        first,
        piece=replace(
            first.piece, period=Period(first.period.start, parts[-1].period.end), limits=parts[-1].piece.limits
        ),
        lines=tuple(line for part in parts for line in part.lines),
        amount=sum((part.amount for part in parts), Decimal(0)),
        exact_amount=sum((part.exact_amount for part in parts), Decimal(0)),
        contained_taxes=tuple(tax for part in parts for tax in part.contained_taxes),
        reductions=tuple(one for part in parts for one in part.reductions),
        concessions=tuple(dict.fromkeys(one for part in parts for one in part.concessions)),
        areas=tuple(AreaStep(part.period.start, part.basis.area) for part in parts),
    )


def _revisions(
    states: Sequence[ChargeState],
    shared: Sharing,
    rated: Mapping[Place, RatedPiece],
    cause: Cause,
    currency: str,
) -> list[dict[str, object]]:
    """New revisions of charges that build on each other, in the order of time."""
    rows: list[dict[str, object]] = []
    revised: list[Stretch] = []
    for state in states:
        one = rated.get(_place(state))
        if one is None:
            continue
        inputs = as_json(charge_inputs(one))
        goes_on = builds_on(state, shared, revised) or _in_window(one.piece, revised)
        charge, lines = charge_row(one), line_rows(one, currency)
        if _comes_out_otherwise(state, one, lines) and (goes_on or _rests_on_others(state.inputs, inputs, cause)):
            found = [difference.row(state) for difference in differences(state.lines, lines)]
            amounts = _same(state) | {"amount": one.amount, "exact_amount": one.exact_amount, "lines": lines}
            amounts |= {"taxes": one.taxes_within, "differences": found}
            revised.append(stretch_of(state))
        elif _stands_on(state.inputs) != _stands_on(inputs):
            # Both ends moved by the same, or an estimate was right: nothing to pay, but neighbours go on from here.
            kept = {name: value for name, value in state.inputs.items() if name not in _STANDING}
            inputs = kept | {name: inputs[name] for name in _STANDING if name in inputs}
            amounts = _same(state)
        elif cause == "concession" and state.inputs.get("concessions") != inputs.get("concessions"):
            # Nothing to take off now; what the meter counts late will bear it.
            inputs = {**state.inputs, "concessions": inputs.get("concessions", [])}
            amounts = _same(state)
        elif cause == "persons" and _rests_on_others(state.inputs, inputs, cause):
            # The tiers are not reached yet; what the meter counts late goes by them.
            inputs = {**state.inputs, "persons": inputs["persons"], "window_parts": inputs["window_parts"]}
            amounts = _same(state)
        else:
            continue
        rows.append(revision(state, cause) | _metered_columns(charge) | {"inputs": inputs} | amounts)
    return rows


def _in_window(piece: Piece, revised: Sequence[Stretch]) -> bool:
    """Whether an earlier charge of its tier window came to something else."""
    window, agreement_id = piece.window, piece.agreement.id
    return any(
        one == agreement_id and window.start <= period.start and period.end <= piece.period.start
        for one, period in revised
    )


def _rests_on_others(before: Mapping[str, Any], after: Mapping[str, Any], cause: Cause) -> bool:
    """Whether other facts than before decide; persons do only where the tariff widens tiers for them."""
    if cause == "persons":
        return bool(before.get("window_parts") != after.get("window_parts"))
    return differs(before, after)


def _same(state: ChargeState) -> dict[str, object]:
    return {
        "amount": state.amount,
        "exact_amount": state.exact_amount,
        "lines": state.lines,
        "taxes": state.taxes,
    }


def _comes_out_otherwise(state: ChargeState, one: RatedPiece, lines: Sequence[Mapping[str, Any]]) -> bool:
    quantity = one.metered.quantity if one.metered else None
    changed = (quantity, one.exact_amount) != (state.quantity, state.exact_amount)
    return changed or bool(differences(state.lines, lines))


def _stands_on(inputs: Mapping[str, Any]) -> list[object]:
    """The boundary readings that a charge cites, whatever their quality, and how far it is estimated."""
    cited = [inputs.get(end) and (inputs[end]["taken_at"], inputs[end]["value"]) for end in ("opening", "closing")]
    return [*cited, *register_readings(inputs), inputs.get("estimate")]


def revision(state: ChargeState, cause: Cause) -> dict[str, object]:
    """The columns of the next revision of a charge that say what it starts from."""
    return {
        "account_id": state.account_id,
        "charge_id": state.charge_id,
        "revision": state.revision + 1,
        "cause": cause,
        "old_quantity": state.quantity,
        "old_amount": state.amount,
        "old_taxes": state.taxes,
        "engine_version": ENGINE_VERSION,
        "differences": [],
    }


def _metered_columns(charge: Mapping[str, object]) -> dict[str, object]:
    names = (
        "quantity", "opening_at", "opening_value", "closing_at", "closing_value", "estimate", "estimated_days"
    )  # fmt: skip
    return {name: charge.get(name) for name in names}


def _by_agreement(states: Sequence[ChargeState]) -> dict[int, list[ChargeState]]:
    found: dict[int, list[ChargeState]] = defaultdict(list)
    for one in states:
        found[one.agreement.id].append(one)
    return found


def _place(state: ChargeState) -> Place:
    return state.agreement.id, state.period.start
