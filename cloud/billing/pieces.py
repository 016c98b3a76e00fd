"""Cuts what is to be charged into pieces with one tariff version and one tier window each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from cloud.billing.records import Agreement, Uncharged
from cloud.kit.periods import Period, months
from cloud.tariffs.models import AreaComponent, EnergyComponent, FixedComponent, TariffContent
from cloud.tariffs.service import TariffVersion


class Unbillable(Exception):
    """One account cannot be billed; the others can. `code` is stable, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an agreement under one tariff version and inside one tier window."""

    agreement: Agreement
    period: Period
    version: TariffVersion

    @property
    def window(self) -> Period:
        """The tier window around it."""
        return self.version.content.tiers.window.around(self.period)

    @property
    def metered(self) -> bool:
        """Whether a meter decides the amount."""
        return bool(self.version.content.energy)


def pieces(uncharged: Uncharged, versions: Sequence[TariffVersion]) -> list[Piece]:
    """The pieces in order of time. Raises Unbillable when a day has no tariff version or a fee needs whole months."""
    found = list(_cut(uncharged, versions))
    if sum(piece.period.days for piece in found) != uncharged.period.days:
        raise Unbillable(
            "missing-tariff-version",
            f"{uncharged.agreement.service}: the tariff has no version for some day of {uncharged.period}",
        )
    for piece in found:
        if _needs_months(piece.version.content):
            whole_months(piece.period)
    return found


def whole_months(period: Period) -> int:
    """Number of calendar months. Raises Unbillable when the period begins or ends inside one."""
    if period.start.day != 1 or period.end.day != 1:
        raise Unbillable("partial-month", f"a monthly fee needs whole months, {period} begins or ends inside one")
    return sum(1 for _ in months(period.start, period.end))


def _cut(uncharged: Uncharged, versions: Sequence[TariffVersion]) -> Iterator[Piece]:
    for version in versions:
        rest = uncharged.period.overlap(Period(version.valid_from, version.valid_until or date.max))
        while rest is not None:
            window = version.content.tiers.window.around(rest)
            part = Period(rest.start, min(rest.end, window.end))
            yield Piece(uncharged.agreement, part, version)
            rest = Period(part.end, rest.end) if part.end < rest.end else None


def _needs_months(content: TariffContent) -> bool:
    return any(_by_month(part) for part in content.components)


def _by_month(part: EnergyComponent | FixedComponent | AreaComponent) -> bool:
    return not isinstance(part, EnergyComponent) and part.per == "month"
