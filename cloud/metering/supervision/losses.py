"""Losses: what a master meter saw and its direct sub-meters did not, over local days."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.kit.periods import Period, previous_month
from cloud.metering import service
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.periods.repository import usage_of_spans
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter
from cloud.metering.supervision import losses_repository as repository
from cloud.metering.supervision.losses_repository import Balance
from cloud.metering.validation.thresholds import Thresholds

TREND_MONTHS: Final = 12

Finding = Literal["usual", "negative", "high", "incomplete"]


@dataclass(frozen=True, slots=True)
class Loss:
    """The balance of one master meter; quantities in the base unit. `level`: masters above it."""

    balance: Balance
    level: int
    thresholds: Thresholds

    @property
    def quantity(self) -> int:
        """Master less the sum of its sub-meters."""
        return self.balance.master - self.balance.subs

    @property
    def finding(self) -> Finding:
        """What to think of it; nothing is said of a balance with missing readings."""
        if not self.balance.is_complete:
            return "incomplete"
        return judge(self.balance.master, self.balance.subs, self.thresholds)


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-meter's part in its master's balance."""

    meter: Meter
    quantity: int
    estimated: int
    is_complete: bool


def judge(master: int, subs: int, thresholds: Thresholds) -> Finding:
    """Whether a loss is usual: within the bounds of V18, both included.

    Below the lower one the sub-meters count what the master does not.
    """
    loss = master - subs
    if 1000 * loss < thresholds.loss_low_permille * master:
        return "negative"
    return "high" if 1000 * loss > thresholds.loss_high_permille * master else "usual"


async def losses(conn: Conn, project_id: int, medium: Medium, period: Period, zone: ZoneInfo) -> list[Loss]:
    """Every master meter of the project with its balance: below each master those that hang on it, by code."""
    start, end = period.instants(zone)
    found = await repository.balances(conn, project_id, medium, MAIN_CHANNEL[medium].number, start, end)
    thresholds = await load_thresholds(conn, [one.meter_id for one in found])
    below: dict[int | None, list[Balance]] = {}
    masters = {one.meter_id for one in found}
    for one in found:
        below.setdefault(one.parent_id if one.parent_id in masters else None, []).append(one)
    ordered: list[Loss] = []

    def walk(parent: int | None, level: int) -> None:
        for one in sorted(below.pop(parent, []), key=lambda balance: (balance.code, balance.meter_id)):
            ordered.append(Loss(one, level, thresholds[one.meter_id]))
            walk(one.meter_id, level + 1)

    walk(None, 0)
    # What is left hangs on itself: shown all the same, so that somebody mends it.
    while below:
        walk(min(below, key=lambda parent: parent or 0), 0)
    return ordered


async def parts(conn: Conn, master: Meter, period: Period, zone: ZoneInfo) -> list[Part]:
    """The direct sub-meters of a master, the largest users first."""
    meters = await service.meters_by_id(conn, await repository.children(conn, master.id, master.medium))
    start, end = period.instants(zone)
    spans = [(meter_id, master.main_channel.number, start, end) for meter_id in meters]
    found = zip(meters.values(), await usage_of_spans(conn, spans), strict=True)
    made = [Part(meter, used.quantity, used.estimated, used.is_complete) for meter, used in found]
    return sorted(made, key=lambda part: (-part.quantity, part.meter.id))


async def trend(conn: Conn, master: Meter, today: date, zone: ZoneInfo) -> list[tuple[Period, Loss | None]]:
    """The balance of a master in each of the last twelve whole months; None where nothing hangs on it."""
    months = [previous_month(today)]
    while len(months) < TREND_MONTHS:
        months.insert(0, previous_month(months[0].start))
    return [(month, await of_master(conn, master, month, zone)) for month in months]


async def of_master(conn: Conn, master: Meter, period: Period, zone: ZoneInfo) -> Loss | None:
    """The balance of one master; None where nothing hangs on it."""
    start, end = period.instants(zone)
    found: Sequence[Balance] = await repository.balances(
        conn, master.project_id, master.medium, master.main_channel.number, start, end, master.id
    )
    if not found:
        return None
    return Loss(found[0], 0, (await load_thresholds(conn, [master.id]))[master.id])
