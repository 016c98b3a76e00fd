"""Drafts of bills: cuts what is to be charged into pieces and rates all accounts of a chunk at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.billing.agreements.rents import AreaStep
from cloud.billing.charges.basis import Basis, basis
from cloud.billing.charges.facts import Facts
from cloud.billing.charges.filings import WindowParts, persons_on
from cloud.billing.charges.limits import Cost, SoFar, Stretch, columns
from cloud.billing.charges.metered import Metered, metered
from cloud.billing.charges.pieces import Piece, Unbillable, pieces
from cloud.billing.charges.supplies import rounds, supplies
from cloud.billing.concessions.applying import off, taken_off
from cloud.billing.concessions.contained import after_concessions, taxes_within
from cloud.billing.concessions.reductions import Concession, Reduction
from cloud.billing.estimates.estimating import CAUTIOUS, EstimatePolicy
from cloud.billing.records import Agreement, Charged, Uncharged
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.kit.periods import Period
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent, places
from cloud.tariffs.rating.columns import Usages
from cloud.tariffs.rating.engine import rate_batch
from cloud.tariffs.rating.explain import (
    ContainedTax,
    Line,
    contained_taxes,
    exact,
    explain,
    lacking,
    total,
    unlimited,
)
from cloud.tariffs.rating.plan import AREA_EXPONENT, plan

Alike = tuple[int, str | None, tuple[str, ...]]
"""What pieces that are rated together have in common: tariff version, season, and the order of their price periods."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A piece with everything it is rated by."""

    piece: Piece
    metered: Metered | None
    basis: Basis


@dataclass(frozen=True, slots=True)
class RatedPiece:
    """A piece with its amount, its explained lines, and everything they follow from."""

    piece: Piece
    metered: Metered | None
    basis: Basis
    persons: int
    parts: WindowParts
    carry: Decimal
    so_far: SoFar
    """What pieces of the bill cost before it that share a limit with it."""
    lines: tuple[Line, ...]
    amount: Decimal
    exact_amount: Decimal
    contained_taxes: tuple[ContainedTax, ...]
    """Of what remains to pay."""
    reductions: tuple[Reduction, ...]
    """What concessions take off `lines`; `amount` is what remains."""
    concessions: tuple[Concession, ...] = ()
    """Those that were there for the piece, also where they took nothing off."""
    areas: tuple[AreaStep, ...] = ()
    """Where the piece is put together of several: the floor areas they went by."""

    @property
    def taxes_within(self) -> dict[str, Decimal]:
        """What of `amount` is tax, by component."""
        return taxes_within(self.lines, self.contained_taxes, self.reductions)

    @property
    def agreement(self) -> Agreement:
        """What it is charged by."""
        return self.piece.agreement

    @property
    def period(self) -> Period:
        """The days it charges."""
        return self.piece.period


@dataclass(frozen=True, slots=True)
class Drafts:
    """Rated pieces by account, and the accounts that cannot be billed."""

    rated: dict[int, list[RatedPiece]]
    failures: dict[int, Unbillable]


async def draft(
    conn: Conn, project: Project, uncharged: Sequence[Uncharged], policy: EstimatePolicy = CAUTIOUS
) -> Drafts:
    """Rates everything in `uncharged`. An account fails as a whole: half a bill is no bill.

    `policy`: what is done where readings are missing or in doubt.
    """
    return await _Drafting(conn, project, Facts(conn, project, policy)).run(uncharged)


async def rate_rounds(conn: Conn, facts: Facts, rounds: Sequence[Sequence[Piece]]) -> Drafts:
    """Rates pieces that are cut already; round n holds the n-th piece of every supply in the order of time."""
    return await _Drafting(conn, facts.project, facts).rate(rounds)


class _Drafting:
    def __init__(self, conn: Conn, project: Project, facts: Facts) -> None:
        self._conn = conn
        self._project = project
        self._facts = facts
        self._failures: dict[int, Unbillable] = {}
        self._rated: dict[int, list[RatedPiece]] = defaultdict(list)
        self._so_far: dict[tuple[Stretch, ...], SoFar] = {}

    async def run(self, uncharged: Sequence[Uncharged]) -> Drafts:
        return await self.rate(await self._rounds(uncharged))

    async def rate(self, rounds: Sequence[Sequence[Piece]]) -> Drafts:
        await self._facts.load([piece for one_round in rounds for piece in one_round])
        for one_round in rounds:
            self._rate_round([piece for piece in one_round if piece.agreement.account_id not in self._failures])
        rated = {account: found for account, found in self._rated.items() if account not in self._failures}
        return Drafts(rated, self._failures)

    async def _rounds(self, uncharged: Sequence[Uncharged]) -> list[list[Piece]]:
        """Everything cut into pieces, in the order of time."""
        if not uncharged:
            return []
        whole = Period(min(one.period.start for one in uncharged), max(one.period.end for one in uncharged))
        tariff_ids = sorted({one.agreement.tariff for one in uncharged})
        versions = await tariffs.versions_between(self._conn, tariff_ids, whole)
        areas = await self._facts.areas(one.agreement.id for one in uncharged)
        by_agreement: dict[int, list[Piece]] = defaultdict(list)
        for one in uncharged:
            try:
                days = [step.from_day for step in areas[one.agreement.id] or ()]
                by_agreement[one.agreement.id] += pieces(one, versions[one.agreement.tariff], days)
            except Unbillable as reason:
                self._failures.setdefault(one.agreement.account_id, reason)
        return rounds(supplies(by_agreement))

    def _rate_round(self, one_round: Sequence[Piece]) -> None:
        alike: dict[Alike, list[Ready]] = defaultdict(list)
        for piece in one_round:
            try:
                goes_by = basis(piece, self._facts)
                counted = metered(piece, self._facts) if piece.metered else None
            except Unbillable as reason:
                self._failures.setdefault(piece.agreement.account_id, reason)
            else:
                order = tuple(code for code, _ in counted.runs) if counted else ()
                alike[piece.version.id, piece.season, order].append(Ready(piece, counted, goes_by))
        for group in alike.values():
            for rated in self._rate(group):
                agreement = rated.piece.agreement
                self._rated[agreement.account_id].append(rated)
                quantity = rated.metered.quantity if rated.metered else 0
                self._facts.add(Charged(agreement.id, rated.piece.period, quantity, rated.exact_amount))

    def _rate(self, group: Sequence[Ready]) -> Iterable[RatedPiece]:
        """All pieces of one tariff version, season and order of price periods at once."""
        facts, first = self._facts, group[0].piece
        content = first.version.content
        minor = Decimal(1).scaleb(-minor_digits(content.currency))
        carries = [
            sum((charged.exact_amount for charged in facts.earlier(one.piece)), Decimal(0)) % minor for one in group
        ]
        prepared = plan(content, first.season, max(map(places, carries)))
        parts = [one.piece.window_parts(facts.filings(one.piece)) for one in group]
        quantity, sequence = _quantities(content, [one.metered for one in group if one.metered])
        so_far = [self._before(one.piece) for one in group]
        limits = columns(content, [(one.piece.limits, before) for one, before in zip(group, so_far, strict=True)])
        usages = Usages(
            quantity=quantity,
            sequence=sequence,
            before=[one.metered.before if one.metered else 0 for one in group],
            steps=[part.steps for part in parts],
            covered=[part.covered for part in parts],
            whole=[part.whole for part in parts],
            single=[int(one.piece.agreement.single) for one in group],
            area=[int(one.basis.area.scaleb(AREA_EXPONENT)) for one in group],
            demand=[one.basis.demand_w for one in group],
            capacity=[one.basis.capacity_va for one in group],
            power_factor=[one.basis.power_factor for one in group],
            days=[one.piece.period.days for one in group],
            months=[one.piece.months for one in group],
            begun=[one.piece.begun_months for one in group],
            carry=[int(carry.scaleb(prepared.places)) for carry in carries],
            minimum=limits.minimum,
            cap=limits.cap,
            minimum_before=limits.minimum_before,
            cap_before=limits.cap_before,
            last=limits.last,
        )
        rated = rate_batch(prepared, usages, len(group))
        for n, one in enumerate(group):
            lines, piece = explain(rated, n), one.piece
            there = facts.concessions_for(piece)
            reduced = taken_off(there, piece.agreement.service, piece.period, lines, prepared.digits)
            if piece.limits is not None:
                now = Cost(unlimited(rated, n), lacking(rated, n))
                cost = facts.costs.get((piece.agreement.id, piece.period), now)
                self._so_far[piece.limits.pieces] = so_far[n].and_then(piece.limits, cost)
            yield RatedPiece(
                piece=piece,
                metered=one.metered,
                basis=one.basis,
                persons=persons_on(facts.filings(piece), piece.period.start),
                parts=parts[n],
                carry=carries[n],
                so_far=so_far[n],
                lines=lines,
                amount=total(rated, n) + off(reduced),
                exact_amount=exact(rated, n),
                contained_taxes=after_concessions(contained_taxes(rated, n), lines, reduced, prepared.digits),
                reductions=reduced,
                concessions=there,
            )

    def _before(self, piece: Piece) -> SoFar:
        return SoFar() if piece.limits is None else self._so_far.get(piece.limits.pieces, SoFar())


def _quantities(content: TariffContent, counted: Sequence[Metered]) -> tuple[list[list[int]], list[int] | None]:
    """Usage as the engine takes it: by period, or in the order of time where that decides; and that order."""
    if not content.energy:
        return [], None
    periods = content.periods
    if periods is None:
        return [[one.quantity for one in counted]], None
    if periods.allocation.method != "chronological":
        return [[one.of_period(code) for one in counted] for code in periods.codes], None
    order = [code for code, _ in counted[0].runs]
    return [[one.runs[n][1] for one in counted] for n in range(len(order))], [periods.codes.index(c) for c in order]
