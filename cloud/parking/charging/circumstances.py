"""What decides beside the rule what stays cost, gathered for many of them: the quota of the day, coupons, charging."""

import itertools
from collections.abc import Mapping, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from cloud.estate.calendar import calendar
from cloud.kit.db import Conn
from cloud.kit.periods import Period, local_day
from cloud.parking.charging import circumstances_repository as repository
from cloud.parking.charging.circumstances_repository import Earlier
from cloud.parking.charging.covering import LONGEST, Parked, covering
from cloud.parking.fees.billed_time import BilledTime, second
from cloud.parking.fees.circumstances import Charged, Circumstances, CoveredTime


async def circumstances(
    conn: Conn, project_id: int, zone: ZoneInfo, stays: Sequence[Parked]
) -> dict[int, Circumstances]:
    """By id of the stay, for all of them; `zone` is the project's.

    All stays of the plates must be stored before: earlier ones of the same local day and lot took of the day's free
    minutes what was not covered of them, by the times of the passages alone.
    """
    entries = {stay.id: stay.entered_at for stay in stays if stay.entered_at is not None}
    if not entries:
        return {stay.id: Circumstances() for stay in stays}
    days = [local_day(entered_at, zone) for entered_at in entries.values()]
    # The day before: a window may have begun then.
    read = Period(min(days) - timedelta(days=1), max(days) + LONGEST)
    days_of_project = await calendar(conn, project_id, read)
    coupons = await repository.coupons(conn, list(entries))
    charged = await repository.charged(conn, list(entries))
    earlier = await repository.earlier_stays(conn, list(entries), zone.key)
    # Earlier stays are covered by what covered them, not by what covers these.
    times = await covering(conn, project_id, _once([*stays, *itertools.chain.from_iterable(earlier.values())]))
    found: dict[int, Circumstances] = {}
    for stay in stays:
        covered = tuple(times.get(stay.id, ()))
        found[stay.id] = Circumstances(
            covered=covered,
            free_used=_not_covered(earlier.get(stay.id, ()), times),
            coupons=tuple(coupons.get(stay.id, ())),
            calendar=days_of_project,
            charged=charged.get(stay.id, Charged()),
        )
    return found


def _once(stays: Sequence[Parked]) -> list[Parked]:
    return list({stay.id: stay for stay in stays}.values())


def _not_covered(stays: Sequence[Earlier], times: Mapping[int, Sequence[CoveredTime]]) -> timedelta:
    """How long stays were in all, less what covered them."""
    billed = 0
    for stay in stays:
        spans = [(second(one.start), second(one.end)) for one in times.get(stay.id, ())]
        billed += BilledTime(second(stay.entered_at), second(stay.left_at), spans).total
    return timedelta(seconds=billed)
