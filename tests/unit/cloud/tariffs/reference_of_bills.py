"""Bills of one home the obvious way: day by day, with price changes, seasons, households and moves. Slow and simple."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from cloud.kit.money import minor_digits, round_half_up
from cloud.tariffs.model.tariff import TariffContent
from tests.unit.cloud.tariffs import reference
from tests.unit.cloud.tariffs.reference import NOTHING, Account, Result, Shared

DAY = timedelta(days=1)
MILLIONTH = Decimal("0.000001")


@dataclass(frozen=True)
class Home:
    """Who lives there from `moved_in` up to, not including, `moved_out`.

    `used`: by day, what was used of each price period in the order of time. `persons`: from a day on so many.
    """

    moved_in: date
    moved_out: date
    used: Mapping[date, Sequence[tuple[str, Decimal]]]
    persons: Sequence[tuple[date, int]]
    area: Decimal = NOTHING

    def persons_on(self, day: date) -> int:
        """What was filed last before or on the day."""
        return ([0] + [count for since, count in self.persons if since <= day])[-1]

    def days(self, start: date, end: date) -> list[date]:
        """The days that somebody lives there."""
        days = [start + n * DAY for n in range((end - start).days)]
        return [day for day in days if self.moved_in <= day < self.moved_out]


@dataclass
class Books:
    """What one home is charged by the versions of a tariff, which hold from a day on, in the order of days."""

    versions: Sequence[tuple[date, TariffContent]]
    home: Home
    charged: list[tuple[date, Decimal]] = field(default_factory=list)
    """First day and exact cost of each charge so far."""

    def bill(self, start: date, end: date) -> list[Result]:
        """The charges of a bill: a new one begins wherever price, season or tier window changes."""
        parts: list[list[date]] = []
        for day in self.home.days(start, end):
            if parts and self._alike(parts[-1][-1], day):
                parts[-1].append(day)
            else:
                parts.append([day])
        found: list[Result] = []
        for days in parts:
            found.append(self._charge(days, self._shared("minimum", parts, found), self._shared("cap", parts, found)))
        return found

    def _shared(self, name: str, parts: Sequence[Sequence[date]], found: Sequence[Result]) -> Shared | None:
        """The minimum or cap of the bill for the part after those that are found: its days have each their share."""

        def of_bill(days: Sequence[date]) -> Decimal | None:
            limit = getattr(self._content(days[0]), name)
            return limit.amount if limit is not None and limit.per == "bill" else None

        mine = [place for place, days in enumerate(parts) if of_bill(days) is not None]
        here = len(found)
        if here not in mine:
            return None
        everything = sum(len(days) for days in parts)
        amount = sum((of_bill(parts[place]) or NOTHING) * len(parts[place]) for place in mine) / Decimal(everything)
        cost = [found[place].alone if name == "minimum" else found[place].lifted for place in mine if place < here]
        digits = minor_digits(self._content(parts[0][0]).currency)
        return Shared(round_half_up(amount, digits), sum(cost, NOTHING), last=here == mine[-1])

    def _content(self, day: date) -> TariffContent:
        return [content for since, content in self.versions if since <= day][-1]

    def _alike(self, one: date, other: date) -> bool:
        content = self._content(one)
        return (
            content is self._content(other)
            and content.season_on(one) == content.season_on(other)
            and self._window(content, one) == self._window(content, other)
        )

    def _window(self, content: TariffContent, day: date) -> tuple[date, date]:
        """First day of the year or month around the day, and of the next."""
        window = content.tiers.window
        if window.kind == "month":
            first = day.replace(day=1)
            return first, _next_month(first)
        month, number = map(int, window.anchor.split("-"))
        first = date(day.year, month, number)
        first = first if first <= day else first.replace(year=day.year - 1)
        return first, first.replace(year=first.year + 1)

    def _charge(self, days: Sequence[date], minimum: Shared | None, cap: Shared | None) -> Result:
        content, home = self._content(days[0]), self.home
        start, _ = self._window(content, days[0])
        in_time = tuple(one for day in days for one in home.used[day])
        covered, whole, steps = self._parts(content, days)
        account = Account(
            usage={
                code: sum((used for name, used in in_time if name == code), NOTHING) for code in content.period_codes
            },
            in_time=in_time,
            before=sum((used for day in home.days(start, days[0]) for _, used in home.used[day]), NOTHING),
            covered=covered,
            whole=whole,
            steps=steps,
            area=home.area,
            days=len(days),
            months=sum((_share(day + DAY) - _share(day) for day in days), NOTHING),
            begun=Decimal(len([day for day in days if day.day == 1 or day == home.moved_in])),
            carry=sum((cost for first, cost in self.charged if start <= first < days[0]), NOTHING),
            minimum=minimum,
            cap=cap,
        )
        result = reference.rate(content, account, content.season_on(days[0]))
        self.charged.append((days[0], result.exact))
        return result

    def _parts(self, content: TariffContent, days: Sequence[date]) -> tuple[int, int, int]:
        """Of how many parts of the window how many count, and how often the household rule is given in them.

        Each month counts with who is filed on its first day, or on that of the stay; months to come as the last one of
        the bill.
        """
        partial, (start, end) = content.tiers.window.partial, self._window(content, days[0])
        there = self.home.days(start, end)
        months = {day.replace(day=1): day for day in reversed(there)}
        """First day there of every month."""
        covered, whole = {
            "full": (1, 1), "by_month": (len(months), 12), "by_day": (len(there), (end - start).days),
        }[partial]  # fmt: skip
        if content.household is None:
            return covered, whole, 0
        if partial == "full":
            everything = [start + n * DAY for n in range((end - start).days)]
            months = {day.replace(day=1): max(day, there[0]) for day in reversed(everything)}
            covered = whole = len(months)
        known = max(days[0], days[-1].replace(day=1))
        steps = 0
        for first, day in months.items():
            times = reference.times_of(content.household, self.home.persons_on(min(day, known)))
            steps += times * (len([one for one in there if one.replace(day=1) == first]) if partial == "by_day" else 1)
        return covered, whole, steps


def _next_month(first: date) -> date:
    return (first + 31 * DAY).replace(day=1)


def _share(day: date) -> Decimal:
    """Months from the beginning of the calendar up to a day, in millionths."""
    first = day.replace(day=1)
    part = (Decimal(day.day - 1) / (_next_month(first) - first).days).quantize(MILLIONTH, ROUND_HALF_UP)
    return Decimal(day.year * 12 + day.month) + part
