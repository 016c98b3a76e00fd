"""Rules that compare the registers of one meter over a local day: V14 registers of the periods, V15 siblings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from cloud.estate.records import Project
from cloud.kit.copying import columns_of
from cloud.kit.db import Conn
from cloud.kit.periods import day_start, in_ms
from cloud.metering.checks import findings
from cloud.metering.checks import settling_sql as sql
from cloud.metering.checks.findings import NO_ONE, Finding, Judged
from cloud.metering.checks.register_advances import Sums
from cloud.metering.records import MAIN_CHANNEL, Medium, Rule
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Ints, Mask
from cloud.metering.validation.subjects import Subject
from gateway.contract.quantities import BY_CODE, BY_NUMBER, Kind

MAIN_NUMBERS: Final = frozenset(quantity.number for quantity in MAIN_CHANNEL.values())

_RULES: Final[tuple[Rule, ...]] = ("register-sum", "sibling")
_TOTAL: Final = BY_CODE["energy_import_total"].number
_PERIODS: Final = tuple(
    BY_CODE[f"energy_import_{name}"].number for name in ("sharp", "peak", "flat", "valley", "deep_valley")
)
HEAT: Final = {BY_CODE["heat_total"].number, BY_CODE["cooling_total"].number}
_DAYS_AT_ONCE: Final = 20_000
_SHIFT: Final = 16


@dataclass(frozen=True, slots=True)
class _MeterDay:
    subject: Subject
    before_ms: int
    from_ms: int
    until_ms: int


async def judge(conn: Conn, project: Project, spans: Sequence[tuple[Subject, date, date]], sums: Sums) -> int:
    """Judges the registers of meters for the local days [first, last]; returns how many findings changed.

    `sums`: what the first half of V14 came to, of these meters and others. One day has one finding of the rule, and
    what a register did not advance itself goes before what its siblings say.
    """
    changed = 0
    mine = {subject.meter_id for subject, _, _ in spans}
    others = [one for one in sums.found if one.meter_id not in mine]
    if others:
        changed += await findings.keep(conn, project.id, NO_ONE, ["register-sum"], others)
    starts: dict[date, int] = {}

    def start(day: date) -> int:
        if day not in starts:
            starts[day] = in_ms(day_start(day, project.zone))
        return starts[day]

    one_day = timedelta(days=1)
    days = [
        _MeterDay(subject, start(day - one_day), start(day), start(day + one_day))
        for subject, first, last in spans
        for day in (first + timedelta(days=n) for n in range((last - first).days + 1))
    ]
    for medium in MAIN_CHANNEL:
        same = [one for one in days if one.subject.medium == medium]
        for at in range(0, len(same), _DAYS_AT_ONCE):
            changed += await _judge(conn, project.id, same[at : at + _DAYS_AT_ONCE], medium, sums)
    return changed


def channels_of(medium: Medium) -> list[int]:
    """Registers from which usage is derived for meters of a medium."""
    main = MAIN_CHANNEL[medium]
    return [
        quantity.number
        for quantity in BY_NUMBER.values()
        if quantity.kind is Kind.CUMULATIVE
        and quantity.unit == main.unit
        and (quantity.number in HEAT) == (main.number in HEAT)
    ]


async def _judge(conn: Conn, project_id: int, days: Sequence[_MeterDay], medium: Medium, sums: Sums) -> int:
    query = {
        "meters": [one.subject.meter_id for one in days],
        "before": [one.before_ms for one in days],
        "from": [one.from_ms for one in days],
        "until": [one.until_ms for one in days],
        "channels": channels_of(medium),
    }
    kinds = ("int8", "int2", "int2", "int8", "int8", "int8")
    nth, channel, now, quantity, real, covered_s = await columns_of(conn, sql.CHANNEL_DAYS, query, kinds)
    keys, where = np.unique((nth << _SHIFT) + channel, return_inverse=True)
    today, earlier = now == 1, now == 0
    size = len(keys)
    table = _Table(
        keys >> _SHIFT,
        keys & ((1 << _SHIFT) - 1),
        _placed(quantity[today], where[today], size),
        _placed(real[today], where[today], size),
        _placed(covered_s[today], where[today], size),
        _placed(real[earlier], where[earlier], size),
    )
    here = {(one.subject.meter_id, one.from_ms) for one in days}
    found = {one.key: one for one in _siblings(days, table) + _sums(days, table)}
    found |= {one.key: one for one in sums.found if (one.meter_id, one.from_ms) in here}
    judged = Judged(
        *np.array([(one.subject.meter_id, one.from_ms, one.until_ms) for one in days], np.int64).reshape(-1, 3).T
    )
    unsure = {one.key for one in sums.unsure}
    return await findings.keep(conn, project_id, judged, _RULES, list(found.values()), unsure)


def _placed(values: Ints, where: Ints, size: int) -> Ints:
    placed = np.zeros(size, np.int64)
    placed[where] = values
    return placed


@dataclass(frozen=True, slots=True)
class _Table:
    """One row per day of a meter and channel: usage of the day, its real rows and what they cover, those of the day
    before."""

    nth: Ints
    channel: Ints
    quantity: Ints
    real: Ints
    covered_s: Ints
    before: Ints


def _siblings(days: Sequence[_MeterDay], table: _Table) -> list[Finding]:
    missing = intervals.sibling(table.real, table.before, table.nth)
    found = []
    for nth, channel, before in zip(
        table.nth[missing].tolist(), table.channel[missing].tolist(), table.before[missing].tolist(), strict=True
    ):
        day = days[nth]
        if day.subject.thresholds.weight("sibling") != "off":
            subject = day.subject
            found.append(
                Finding(subject.project_id, subject.meter_id, channel, "sibling", day.from_ms, day.until_ms, 0, before)
            )
    return found


def _sums(days: Sequence[_MeterDay], table: _Table) -> list[Finding]:
    """V14 for days that the total and every register of a period cover with real rows."""
    count = len(days)
    length_s = np.array([(one.until_ms - one.from_ms) // 1000 for one in days], np.int64)
    whole = table.covered_s == length_s[table.nth]
    is_total, is_part = table.channel == _TOTAL, np.isin(table.channel, _PERIODS)
    total, parts = _per_day(table, is_total, count), _per_day(table, is_part, count)
    judged = np.bincount(table.nth[is_total & whole], minlength=count) == 1
    judged &= np.bincount(table.nth[is_part], minlength=count) >= 2
    judged &= np.bincount(table.nth[is_part & ~whole], minlength=count) == 0
    multiplier = np.array([one.subject.multiplier_e4 for one in days], np.int64)
    resolution = np.array([one.subject.resolution for one in days], np.int64)
    wrong = np.flatnonzero(judged & intervals.register_sum(total, parts, multiplier, resolution))
    return [
        Finding(
            days[nth].subject.project_id, days[nth].subject.meter_id, _TOTAL, "register-sum",
            days[nth].from_ms, days[nth].until_ms, int(parts[nth]), int(total[nth]),
        )
        for nth in wrong.tolist()
        if days[nth].subject.thresholds.weight("register-sum") != "off"
    ]  # fmt: skip


def _per_day(table: _Table, chosen: Mask, count: int) -> Ints:
    total = np.zeros(count, np.int64)
    np.add.at(total, table.nth[chosen], table.quantity[chosen])
    return total
