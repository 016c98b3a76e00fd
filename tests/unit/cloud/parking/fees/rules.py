"""Fee rules of any kind, stays and circumstances, for properties that hold for all of them."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from cloud.kit.calendars import DAY_TYPES, DayType
from cloud.parking.fees.circumstances import Charged, Circumstances, Coupon, CoveredTime
from cloud.parking.fees.models import (
    Caps,
    ChargingCredit,
    EscalatingCap,
    FirstBlock,
    ParkingRule,
    PriceWindow,
    Schedule,
    Step,
    Unit,
)

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = [SHANGHAI, ZoneInfo("Europe/Berlin"), ZoneInfo("America/St_Johns"), ZoneInfo("Asia/Kathmandu")]
# Around the changes of the clock in Newfoundland and in Europe.
BEGINNINGS = [date(2010, 11, 5), date(2026, 3, 27), date(2026, 10, 23)]

amounts = st.integers(0, 5000).map(lambda cents: Decimal(cents) / 100)
units = st.builds(Unit, minutes=st.integers(1, 240), price=amounts)
zones = st.sampled_from(ZONES)
entries = st.builds(
    lambda day, seconds: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds),
    st.sampled_from(BEGINNINGS),
    st.integers(0, 3 * 24 * 3600),
)
stays = st.integers(0, 5 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def steps(draw: st.DrawFn, after: int = 0) -> tuple[Step, ...]:
    bounds = sorted(draw(st.sets(st.integers(after + 1, after + 1000), max_size=2)))
    return tuple(
        Step(minutes=draw(st.integers(5, 240)), price=draw(amounts), up_to_minutes=up) for up in (*bounds, None)
    )


@st.composite
def escalating(draw: st.DrawFn) -> tuple[EscalatingCap, ...]:
    times = sorted(draw(st.sets(st.integers(1, 4000), max_size=3)))
    rising = sorted(draw(amounts) for _ in times)
    return tuple(EscalatingCap(within_minutes=at, amount=cap) for at, cap in zip(times, rising, strict=True))


# Seldom, and high enough that they do not hide everything else.
_cap = st.none() | st.none() | st.integers(0, 20000).map(lambda cents: Decimal(cents) / 100)
caps = st.builds(Caps, per_24_hours=_cap, per_calendar_day=_cap, escalating=st.just(()) | escalating())


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def _window(draw: st.DrawFn, start: int, end: int, days: tuple[DayType, ...]) -> PriceWindow:
    price: dict[str, Any] = {"minutes": draw(st.integers(5, 240)), "price": draw(amounts)}
    if draw(st.booleans()):
        price = {"steps": draw(steps())}
    return PriceWindow(start=_clock(start), end=_clock(end), days=days, cap=draw(_cap), **price)


@st.composite
def windows(draw: st.DrawFn) -> tuple[PriceWindow, ...]:
    """The same on all days, with one over midnight; or some for one kind of days and others for the rest."""
    if draw(st.booleans()):
        starts = sorted(draw(st.sets(st.integers(0, 1439), min_size=1, max_size=4)))
        pairs = zip(starts, [*starts[1:], starts[0]], strict=True)
        return tuple(draw(_window(start, end, DAY_TYPES)) for start, end in pairs)
    found: list[PriceWindow] = []
    one = draw(st.sampled_from(DAY_TYPES))
    for days in ((one,), tuple(day for day in DAY_TYPES if day != one)):
        borders = sorted(draw(st.sets(st.integers(1, 1439), max_size=2)))
        found += [draw(_window(start, end, days)) for start, end in zip([0, *borders], [*borders, 1440], strict=True)]
    return tuple(found)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    free = draw(st.integers(0, 300))
    first = draw(st.none() | st.builds(FirstBlock, minutes=st.integers(1, 300), amount=amounts))
    way = draw(st.sampled_from(["unit", "steps", "windows"]))
    kwh, minutes = draw(st.tuples(st.integers(0, 30), st.integers(0, 3)))
    charging = ChargingCredit(
        free_minutes_per_kwh=kwh, free_minutes_per_minute=minutes, at_most_minutes=draw(st.none() | st.integers(1, 600))
    ) if kwh or minutes else None  # fmt: skip
    return Schedule(
        free_minutes=free,
        free_minutes_per=draw(st.sampled_from(["stay", "day"])) if free else "stay",
        billing_from=draw(st.sampled_from(["entry", "end-of-free"])),
        first=first,
        unit=draw(units) if way == "unit" else None,
        steps=draw(steps(0 if first is None else first.minutes)) if way == "steps" else (),
        windows=draw(windows()) if way == "windows" else (),
        caps=draw(caps),
        charging=charging,
    )


@st.composite
def rules(draw: st.DrawFn) -> ParkingRule:
    return ParkingRule(name="any", leave_within_minutes=draw(st.integers(0, 60)), schedule=draw(schedules()))


@st.composite
def coupons(draw: st.DrawFn) -> tuple[Coupon, ...]:
    values = {
        "hours": st.integers(0, 20).map(lambda half: Decimal(half) / 2),
        "percentage": st.integers(0, 100).map(Decimal),
        "money": amounts,
        "free": st.just(Decimal(0)),
    }
    kinds = draw(st.lists(st.sampled_from(["hours", "percentage", "money", "free"]), max_size=3))
    return tuple(Coupon(f"C{number}", kind, draw(values[kind])) for number, kind in enumerate(kinds))  # type: ignore[arg-type]


@st.composite
def circumstances(draw: st.DrawFn, entered: datetime) -> Circumstances:
    """Covered times around a stay from `entered`, in whole minutes of it."""
    spans = draw(st.lists(st.tuples(st.integers(-600, 4000), st.integers(1, 1500)), max_size=3))
    covered = tuple(
        CoveredTime(entered + timedelta(minutes=start), entered + timedelta(minutes=start + length))
        for start, length in spans
    )
    days = [entered.date() + timedelta(days=number) for number in range(-1, 7)]
    return Circumstances(
        covered=covered,
        free_used=timedelta(minutes=draw(st.integers(0, 400))),
        coupons=draw(coupons()),
        calendar={day: draw(st.sampled_from(DAY_TYPES)) for day in draw(st.sets(st.sampled_from(days)))},
        charged=Charged(Decimal(draw(st.integers(0, 600))) / 10, draw(st.integers(0, 300))),
    )
