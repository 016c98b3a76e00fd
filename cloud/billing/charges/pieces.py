"""Cuts what is to be charged into pieces with one tariff version, tier window, season and floor area each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

from cloud.billing.charges.filings import Filing, WindowParts, window_parts
from cloud.billing.charges.limits import BillLimits
from cloud.billing.records import Agreement, Uncharged
from cloud.kit.periods import Period, next_month
from cloud.tariffs.model.registers import Source
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.rating import month_shares
from cloud.tariffs.service import TariffVersion

Place = tuple[int, date]
"""Agreement and first day of a piece."""


class Unbillable(Exception):
    """One account cannot be billed; the others can. `code` is stable, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an agreement under one tariff version, inside one tier window and one season.

    Where loads are charged also inside one calendar month, each of which has its own highest. `bill` is all that is
    charged of the agreement at once. `limits`: those of a whole bill that it shares with other pieces; None where it
    has those of its tariff to itself.
    """

    agreement: Agreement
    period: Period
    version: TariffVersion
    bill: Period
    limits: BillLimits | None = None

    @property
    def place(self) -> Place:
        """What tells it from every other piece: no day of an agreement is charged twice."""
        return self.agreement.id, self.period.start

    @property
    def window(self) -> Period:
        """The tier window around it."""
        window = self.version.content.tiers.window
        return self.bill if window.kind == "bill" else window.around(self.period)

    def window_parts(self, filings: Sequence[Filing]) -> WindowParts:
        """How much of the tier window the agreement is there for, and what its household is given in it."""
        return window_parts(self.version.content, self.window, self.stay, self.period, filings)

    @property
    def season(self) -> str | None:
        """The season of the tariff it lies in."""
        return self.version.content.season_on(self.period.start)

    @property
    def metered(self) -> bool:
        """Whether a meter decides the amount."""
        return bool(self.version.content.energy)

    @property
    def time_of_use(self) -> Source | None:
        """Where usage by price period comes from: as agreed, else as the tariff says; None without periods."""
        periods = self.version.content.periods
        return None if periods is None else self.agreement.time_of_use or periods.counted_by

    @property
    def stay(self) -> Period:
        """The days of its agreement."""
        return Period(self.agreement.valid_from, self.agreement.valid_until or date.max)

    @property
    def months(self) -> int:
        """Its length in millionths of months, by their days."""
        return month_shares.by_day(self.period)

    @property
    def begun_months(self) -> int:
        """Millionths of the months that begin for the agreement within the piece."""
        return month_shares.begun(self.period, self.stay)


def pieces(uncharged: Uncharged, versions: Sequence[TariffVersion], areas: Sequence[date] = ()) -> list[Piece]:
    """The pieces in order of time. `areas`: days from which another floor area holds.

    Raises Unbillable when a day has no tariff version.
    """
    found = [part for piece in _cut(uncharged, versions) for part in by_area(piece, areas)]
    if sum(piece.period.days for piece in found) != uncharged.period.days:
        raise Unbillable(
            "missing-tariff-version",
            f"{uncharged.agreement.service}: the tariff has no version for some day of {uncharged.period}",
        )
    return found


def _cut(uncharged: Uncharged, versions: Sequence[TariffVersion]) -> Iterator[Piece]:
    for version in versions:
        rest = uncharged.period.overlap(Period(version.valid_from, version.valid_until or date.max))
        while rest is not None:
            window = version.content.tiers.window.around(rest)
            last = min(rest.end, window.end)
            if version.content.by_load:
                last = min(last, next_month(rest.start))
            end = _season_end(version.content, Period(rest.start, last))
            yield Piece(uncharged.agreement, Period(rest.start, end), version, uncharged.period)
            rest = Period(end, rest.end) if end < rest.end else None


def by_area(piece: Piece, days: Sequence[date]) -> Iterator[Piece]:
    """The piece, cut where another floor area begins to hold that its tariff goes by.

    Not where a meter decides too: there is no reading on that day, and the area of the first day holds.
    """
    goes_by = any(part.kind == "area" for part in piece.version.content.components) and not piece.metered
    cuts = [day for day in days if goes_by and piece.period.start < day < piece.period.end]
    for start, end in pairwise([piece.period.start, *cuts, piece.period.end]):
        yield replace(piece, period=Period(start, end))


def _season_end(content: TariffContent, period: Period) -> date:
    """The first day of the period in another season than its first day, or its end."""
    if not content.seasons:
        return period.end
    season, day = content.season_on(period.start), period.start
    while day < period.end and content.season_on(day) == season:
        day += timedelta(days=1)
    return day
