"""Drafts of what is agreed without a tariff: instalments of rents and one-off charges."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloud.billing import agreed_repository, conceding
from cloud.billing.agreed_repository import Due
from cloud.billing.conceding import Concessions
from cloud.billing.concessions import Reduction
from cloud.billing.pieces import Unbillable
from cloud.billing.records import Agreement
from cloud.billing.rents import Rent, instalment
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.kit.periods import Period
from cloud.tariffs.explain import Line, shortest


@dataclass(frozen=True, slots=True)
class AgreedPiece:
    """An instalment or a one-off charge with its lines, what concessions take off, and the terms it follows from."""

    agreement: Agreement
    period: Period
    rent: Rent | None
    lines: tuple[Line, ...]
    reductions: tuple[Reduction, ...]

    @property
    def amount(self) -> Decimal:
        """What remains to pay."""
        return sum((line.amount for line in self.lines), Decimal(0)) + conceding.off(self.reductions)


@dataclass(frozen=True, slots=True)
class AgreedDrafts:
    """Pieces by account, and the accounts that cannot be billed."""

    pieces: dict[int, list[AgreedPiece]]
    failures: dict[int, Unbillable]


async def draft_agreed(conn: Conn, project: Project, period: Period, account_ids: Sequence[int]) -> AgreedDrafts:
    """What a run over `period` charges of rents and one-off charges: all that is due and not charged yet."""
    due = await agreed_repository.due(conn, project.id, period.end, account_ids)
    if not due:
        return AgreedDrafts({}, {})
    rents = await agreed_repository.rents(conn, [one.agreement.id for one in due if one.agreement.kind == "rent"])
    units = await _units(conn, due)
    span = Period(min(one.period.start for one in due), max(one.period.end for one in due))
    concessions = await conceding.load(conn, (one.agreement for one in due), units.values(), span)
    digits = minor_digits(project.currency)
    pieces: dict[int, list[AgreedPiece]] = defaultdict(list)
    failures: dict[int, Unbillable] = {}
    for one in due:
        try:
            made = _piece(one, rents.get(one.agreement.id), concessions, units.get(one.agreement.id), digits)
        except ValueError as error:
            reason = Unbillable("missing-rent", f"{one.agreement.service}: {error}")
            failures.setdefault(one.agreement.account_id, reason)
        else:
            pieces[one.agreement.account_id].append(made)
    return AgreedDrafts(dict(pieces), failures)


async def _units(conn: Conn, due: Sequence[Due]) -> dict[int, int]:
    """The unit of each agreement: its own, else that of its account."""
    accounts = await estate.accounts_by_id(conn, sorted({one.agreement.account_id for one in due}))
    found = {}
    for one in due:
        account = accounts.get(one.agreement.account_id)
        unit_id = one.agreement.unit_id or (account.unit_id if account else None)
        if unit_id is not None:
            found[one.agreement.id] = unit_id
    return found


def _piece(due: Due, rent: Rent | None, concessions: Concessions, unit_id: int | None, digits: int) -> AgreedPiece:
    """A one-off charge is an amount that was agreed: no concession takes anything off it."""
    agreement = due.agreement
    if agreement.amount is not None:
        price = shortest(agreement.amount)
        line = Line("fixed", "one_off", None, None, Decimal(1), "bill", price, agreement.amount)
        return AgreedPiece(agreement, due.period, None, (line,), ())
    if rent is None:
        raise ValueError("the agreement has no rent")
    lines = instalment(rent, agreement.valid_from, due.period, digits)
    return AgreedPiece(
        agreement, due.period, rent, lines, concessions.taken_off(agreement, unit_id, due.period, lines, digits)
    )
