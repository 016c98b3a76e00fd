"""Parts of a month that is unlike the one before (V9): where a meter changed hands, whose days are what is unlike."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from cloud.kit.db import Conn
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.records import MeterException
from cloud.metering.service import UsageKey, usage_between_many
from cloud.metering.validation.periods import Average, high_low


@dataclass(frozen=True, slots=True)
class PartOfMonth:
    """`days` of the `of_days` of the month that `finding` is about: from `start` up to, not including, `end`."""

    finding: MeterException
    start: datetime
    end: datetime
    days: int
    of_days: int

    @property
    def key(self) -> UsageKey:
        """Its usage."""
        return self.finding.meter_id, self.finding.channel, self.start, self.end


async def unlike(conn: Conn, parts: Sequence[PartOfMonth]) -> list[bool]:
    """Whether each part is outside the bounds by itself, compared with what its month was compared with.

    Of the parts that make up the month at least one is, as an average lies among the averages of its parts. True where
    usage does not tell.
    """
    if not parts:
        return []
    usage = await usage_between_many(conn, [one.key for one in parts])
    thresholds = await load_thresholds(conn, {one.finding.meter_id for one in parts})
    bounds = [thresholds[one.finding.meter_id] for one in parts]
    outside = high_low(
        Average(_column([usage[one.key].quantity for one in parts]), _column([one.days for one in parts])),
        Average(_column([one.finding.expected or 0 for one in parts]), _column([one.of_days for one in parts])),
        _column([one.high_low_low_permille for one in bounds]),
        _column([one.high_low_high_permille for one in bounds]),
        _column([one.high_low_floor for one in bounds]),
    )
    known = [usage[one.key].complete and one.finding.expected is not None for one in parts]
    return [bool(out) or not told for out, told in zip(outside, known, strict=True)]


def _column(values: Sequence[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, np.int64)
