"""How much work waits and for how long, as metrics and as numbers: of all projects together, for any role."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Final, LiteralString

from prometheus_client import Gauge

from cloud.kit.db import Conn

BACKLOG: Final[LiteralString] = """
    SELECT dirty_windows, dirty_age_s, unsettled, unsettled_age_s, dead_letters, dead_letter_age_s, unclaimed,
           unclaimed_age_s, jobs_due, job_age_s, jobs_failed, gateways, heard_age_s, notices_due, notice_age_s,
           notices_given_up, aside.meters AS meters_set_aside, aside.age_s AS set_aside_age_s
    FROM gm.backlog(), gm.notices_waiting(), gm.meters_set_aside() AS aside
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """Counts of what waits, and the age in seconds of the oldest of each; None where nothing waits.

    `jobs_failed` and `notices_given_up`: in the last 24 hours. `heard_age_s`: since any gateway was heard of; None:
    none ever was.
    """

    dirty_windows: int
    dirty_age_s: int | None
    unsettled: int
    unsettled_age_s: int | None
    dead_letters: int
    dead_letter_age_s: int | None
    unclaimed: int
    unclaimed_age_s: int | None
    jobs_due: int
    job_age_s: int | None
    jobs_failed: int
    gateways: int
    heard_age_s: int | None
    notices_due: int
    notice_age_s: int | None
    notices_given_up: int
    meters_set_aside: int
    set_aside_age_s: int | None


_GAUGES: Final[dict[str, Gauge]] = {
    "dirty_windows": Gauge("gatemeter_dirty_windows", "Changes of readings that usage is not derived from yet."),
    "dirty_age_s": Gauge("gatemeter_dirty_window_oldest_seconds", "Age of the oldest of them; 0 without any."),
    "unsettled": Gauge("gatemeter_unsettled_usage", "Changes of usage that validation has not judged yet."),
    "unsettled_age_s": Gauge("gatemeter_unsettled_usage_oldest_seconds", "Age of the oldest of them; 0 without any."),
    "dead_letters": Gauge("gatemeter_dead_letters", "Messages that could not be taken and wait for somebody."),
    "dead_letter_age_s": Gauge("gatemeter_dead_letter_oldest_seconds", "Since when the oldest of them waits."),
    "unclaimed": Gauge("gatemeter_unclaimed_readings", "Readings without a place that nobody has discarded."),
    "unclaimed_age_s": Gauge("gatemeter_unclaimed_reading_oldest_seconds", "Since when the oldest of them waits."),
    "jobs_due": Gauge("gatemeter_jobs_due", "Jobs that could run and wait for a worker."),
    "job_age_s": Gauge("gatemeter_job_due_oldest_seconds", "For how long the oldest of them waits."),
    "jobs_failed": Gauge("gatemeter_jobs_failed", "Jobs that failed for good in the last 24 hours."),
    "notices_due": Gauge("gatemeter_notices_due", "Notices to people that wait to be sent."),
    "notice_age_s": Gauge("gatemeter_notice_oldest_seconds", "For how long the oldest of them waits; 0 without any."),
    "notices_given_up": Gauge("gatemeter_notices_given_up", "Notices that were given up in the last 24 hours."),
    "meters_set_aside": Gauge("gatemeter_meters_set_aside", "Meters whose usage cannot be derived or not be judged."),
    "set_aside_age_s": Gauge(
        "gatemeter_meter_set_aside_oldest_seconds", "Since when the first of them is; 0: none is."
    ),
    "gateways": Gauge("gatemeter_gateways", "Registered gateways."),
    "heard_age_s": Gauge("gatemeter_gateway_heard_seconds", "Since any gateway was heard of; NaN: none ever was."),
}


async def backlog(conn: Conn) -> Backlog:
    """What waits now."""
    row = await (await conn.execute(BACKLOG)).fetchone()
    assert row is not None
    return Backlog(**row)


def tell(found: Backlog | None) -> None:
    """Sets the gauges; None: nobody knows, and they are NaN, so that no alarm stays quiet over an old number."""
    known = {} if found is None else asdict(found)
    for field in fields(Backlog):
        value = known.get(field.name)
        if value is None:
            value = math.nan if found is None or field.name == "heard_age_s" else 0
        _GAUGES[field.name].set(value)
