"""The circumstances of a stay as somebody types them at a command line. Raises InvalidInput naming the option."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

from cloud.estate.calendar_files import preset
from cloud.kit.calendars import DAY_TYPES, DayType
from cloud.kit.errors import InvalidInput, NotFound
from cloud.parking.fees.circumstances import Charged, Circumstances, Coupon, CouponKind, CoveredTime

_MOST: Final[dict[CouponKind, Decimal]] = {
    "hours": Decimal(168),
    "percentage": Decimal(100),
    "money": Decimal(99999),
}
_FIRST_YEAR, _LAST_YEAR = 1970, 2200
LONGEST: Final = timedelta(days=3660)
"""Pricing takes as many steps as there are days."""


@dataclass(frozen=True, slots=True)
class TypedCircumstances:
    """What was typed, as text."""

    covered: Sequence[str] = ()
    quota_used: int = 0
    coupons: Sequence[str] = ()
    days: Sequence[str] = ()
    calendar: str = ""
    kwh: str = "0"
    charged_minutes: int = 0


def read_circumstances(typed: TypedCircumstances, zone: ZoneInfo) -> Circumstances:
    """What was typed, for a stay in a lot of `zone`."""
    if typed.quota_used > 7 * 24 * 60 or typed.charged_minutes > 20_000:
        raise InvalidInput("invalid-input", "--quota-used, --charged-minutes: expected fewer minutes")
    kwh = _number("--charged-kwh", typed.kwh, Decimal(99999))
    return Circumstances(
        covered=tuple(_covered(text, zone) for text in typed.covered),
        free_used=timedelta(minutes=typed.quota_used),
        coupons=tuple(_coupon(number, text) for number, text in enumerate(typed.coupons, 1)),
        calendar={**_calendar(typed.calendar), **dict(_days(typed.days))},
        charged=Charged(kwh, typed.charged_minutes),
    )


def read_instant(option: str, text: str, zone: ZoneInfo) -> datetime:
    """A time; without an offset it is one of the lot's clock."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "invalid-input", f"{option}: expected a time such as 2026-05-01T08:00, got {text!r}"
        ) from None
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise InvalidInput(
            "invalid-input", f"{option}: expected a year from {_FIRST_YEAR} to {_LAST_YEAR}, got {text!r}"
        )
    return found if found.tzinfo else found.replace(tzinfo=zone)


def read_stay(entry: str, leave: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When a stay begins and ends."""
    entered_at, left_at = read_instant("--entry", entry, zone), read_instant("--exit", leave, zone)
    # As instants: two times of one clock are subtracted as if it never changed.
    length = left_at.astimezone(UTC) - entered_at.astimezone(UTC)
    if length < timedelta(0):
        raise InvalidInput("invalid-input", f"--exit: {leave} lies before the entry")
    if length > LONGEST:
        raise InvalidInput(
            "invalid-input", f"--exit: expected at most {LONGEST.days} days after the entry, got {leave}"
        )
    return entered_at, left_at


def _calendar(name: str) -> dict[date, DayType]:
    try:
        return {one.day: one.kind for one in preset(name)} if name else {}
    except NotFound as error:
        raise InvalidInput("invalid-input", f"--calendar: {error.detail}") from error


def _covered(text: str, zone: ZoneInfo) -> CoveredTime:
    first, _, last = text.partition("/")
    start, end = read_instant("--covered", first, zone), read_instant("--covered", last, zone)
    if end <= start:
        raise InvalidInput("invalid-input", f"--covered: expected FROM/UNTIL in order, got {text!r}")
    return CoveredTime(start, end)


def _coupon(number: int, text: str) -> Coupon:
    kind, _, value = text.partition("=")
    if text == "free":
        return Coupon(f"{number}", "free", Decimal(0))
    for known, most in _MOST.items():
        if kind == known:
            return Coupon(f"{number}", known, _number("--coupon", value, most))
    raise InvalidInput("invalid-input", f"--coupon: expected hours=2, percentage=20, money=5.00 or free, got {text!r}")


def _days(texts: Sequence[str]) -> Iterator[tuple[date, DayType]]:
    for text in texts:
        day, _, kind = text.partition("=")
        found = next((known for known in DAY_TYPES if known == kind), None)
        try:
            parsed = date.fromisoformat(day)
        except ValueError:
            parsed = None
        if found is None or parsed is None:
            raise InvalidInput("invalid-input", f"--day: expected DATE=work, rest, holiday or critical, got {text!r}")
        yield parsed, found


def _number(option: str, text: str, most: Decimal) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal(-1)
    if not found.is_finite() or not 0 <= found <= most or found != round(found, 3):
        raise InvalidInput("invalid-input", f"{option}: expected 0 to {most} with at most 3 decimals, got {text!r}")
    return found
