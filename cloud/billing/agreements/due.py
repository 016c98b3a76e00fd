"""Drafts of what is agreed without a tariff: instalments of rents and packages, and one-off charges."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cloud.billing.agreements import area_repository
from cloud.billing.agreements import repository as agreed_repository
from cloud.billing.agreements.rents import NoArea, Rent, instalment
from cloud.billing.agreements.repository import Due
from cloud.billing.agreements.taxes import Taxed, TaxStep, taxed
from cloud.billing.charges.pieces import Unbillable
from cloud.billing.concessions import applying as conceding
from cloud.billing.concessions.applying import Concessions, taken_off
from cloud.billing.concessions.contained import after_concessions, taxes_within
from cloud.billing.concessions.reductions import Concession, Reduction
from cloud.billing.records import Agreement
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import ContainedTax, Line, shortest


@dataclass(frozen=True, slots=True)
class AgreedPiece:
    """An instalment or a one-off charge with its lines, what concessions take off, and the terms it follows from.

    `contained_taxes` are those of what remains to pay. `concessions` are those that were there, also where they took
    nothing off.
    """

    agreement: Agreement
    period: Period
    rent: Rent | None
    taxes: tuple[TaxStep, ...]
    lines: tuple[Line, ...]
    contained_taxes: tuple[ContainedTax, ...]
    concessions: tuple[Concession, ...]
    reductions: tuple[Reduction, ...]

    @property
    def amount(self) -> Decimal:
        """What remains to pay."""
        return sum((line.amount for line in self.lines), Decimal(0)) + conceding.off(self.reductions)

    @property
    def taxes_within(self) -> dict[str, Decimal]:
        """What of `amount` is tax, by component."""
        return taxes_within(self.lines, self.contained_taxes, self.reductions)


@dataclass(frozen=True, slots=True)
class AgreedDrafts:
    """Pieces by account, and the accounts that cannot be billed."""

    pieces: dict[int, list[AgreedPiece]]
    failures: dict[int, Unbillable]


class AgreedTerms:
    """What agreements without a tariff say now: rents with their floor areas, taxes, and concessions granted by now."""

    def __init__(
        self,
        project: Project,
        rents: Mapping[int, Rent],
        taxes: Mapping[int, tuple[TaxStep, ...]],
        concessions: Concessions,
        units: Mapping[int, int],
    ) -> None:
        self._currency = project.currency
        self._digits = minor_digits(project.currency)
        self._rents = rents
        self._taxes = taxes
        self._concessions = concessions
        self._units = units

    def conceded(self, agreement: Agreement, period: Period) -> tuple[Concession, ...]:
        """The concessions for its charge of `period`. A one-off charge is an amount that was agreed: nothing is off."""
        if agreement.kind == "one_off":
            return ()
        return self._concessions.of(agreement, self._units.get(agreement.id), period)

    def piece(self, agreement: Agreement, period: Period, conceded: tuple[Concession, ...]) -> AgreedPiece:
        """The charge of `period`, as far as the agreement goes. Raises ValueError without terms for it."""
        taxes, rent = self._taxes.get(agreement.id, ()), self._rents.get(agreement.id)
        there = period.overlap(Period(agreement.valid_from, agreement.valid_until or period.end))
        found = Taxed((), ())
        if there is not None and not agreement.taken_back:
            found = taxed(lambda part: self._lines(agreement, rent, part), there, taxes, self._currency, self._digits)
        reductions = taken_off(conceded, agreement.service, there or period, found.lines, self._digits)
        contained = after_concessions(found.contained, found.lines, reductions, self._digits)
        return AgreedPiece(agreement, period, rent, taxes, found.lines, contained, conceded, reductions)

    def _lines(self, agreement: Agreement, rent: Rent | None, period: Period) -> Sequence[Line]:
        if agreement.amount is not None:
            price = shortest(agreement.amount)
            return [Line("fixed", "one_off", None, None, Decimal(1), "bill", price, agreement.amount)]
        if rent is None:
            raise ValueError("the agreement has no rent")
        return instalment(rent, agreement.valid_from, period, self._digits, agreement.kind)


async def load_terms(conn: Conn, project: Project, agreements: Sequence[Agreement], span: Period) -> AgreedTerms:
    """The terms of these agreements for charges within `span`."""
    ids = sorted({one.id for one in agreements})
    rents = await agreed_repository.rents(conn, ids)
    by_area = [agreement_id for agreement_id, rent in rents.items() if rent.per_area]
    areas = await area_repository.of_agreements(conn, by_area) if by_area else {}
    rents |= {one: replace(rents[one], areas=areas.get(one, ())) for one in by_area}
    units = await _units(conn, agreements)
    concessions = await conceding.load(conn, agreements, units.values(), span)
    return AgreedTerms(project, rents, await agreed_repository.taxes(conn, ids), concessions, units)


async def draft_agreed(conn: Conn, project: Project, period: Period, account_ids: Sequence[int]) -> AgreedDrafts:
    """What a run over `period` charges of what is agreed without a tariff: all that is due and not charged yet."""
    due = await agreed_repository.due(conn, project.id, period.end, account_ids)
    if not due:
        return AgreedDrafts({}, {})
    span = Period(min(one.period.start for one in due), max(one.period.end for one in due))
    terms = await load_terms(conn, project, [one.agreement for one in due], span)
    pieces: dict[int, list[AgreedPiece]] = defaultdict(list)
    failures: dict[int, Unbillable] = {}
    for one in due:
        try:
            made = _drafted(terms, one)
        except ValueError as error:
            code = "missing-area" if isinstance(error, NoArea) else "missing-rent"
            reason = Unbillable(code, f"{one.agreement.service}: {error}")
            failures.setdefault(one.agreement.account_id, reason)
        else:
            pieces[one.agreement.account_id].append(made)
    return AgreedDrafts(dict(pieces), failures)


def _drafted(terms: AgreedTerms, due: Due) -> AgreedPiece:
    return terms.piece(due.agreement, due.period, terms.conceded(due.agreement, due.period))


async def _units(conn: Conn, agreements: Sequence[Agreement]) -> dict[int, int]:
    """The unit of each agreement: its own, else that of its account."""
    accounts = await estate.accounts_by_id(conn, sorted({one.account_id for one in agreements}))
    found = {}
    for one in agreements:
        account = accounts.get(one.account_id)
        unit_id = one.unit_id or (account.unit_id if account else None)
        if unit_id is not None:
            found[one.id] = unit_id
    return found
