"""Which of several reports of one passage counts, in whatever order they come. Pure.

A gateway tells a passage more than once: when the vehicle stands there, when its plate is read after all, when somebody
or something else decided, and when it went through. The later report knows more, and that shows in the report itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from cloud.parking.stays.matching import Direction, Outcome

_OUTCOMES: Final[Mapping[Outcome, int]] = {"arrived": 0, "refused": 1, "turned-back": 2, "passed": 3}
_DECISIONS: Final = {"": 0, "await-cloud": 1, "cloud-silent": 3, "command": 4}
_OTHER_DECISION: Final = 2
"""The edge decides by a rule at first; that the cloud is silent, or an order of the cloud, comes after."""


@dataclass(frozen=True, slots=True)
class Report:
    """A passage as it was told once. `plate_told` as it is compared, empty when none was read."""

    id: UUID
    project_id: int
    lane_id: int
    plate_told: str
    plate_read: str
    vehicle_class: str
    score: int
    direction: Direction
    taken_at: datetime
    outcome: Outcome
    outcome_at: datetime
    offline: bool
    decision: str
    image: str
    progress: int


def progress(outcome: Outcome, plate: str, decision: str) -> int:
    """How much a report knows: first how far the vehicle got, then whether its plate was read, then who decided."""
    return 20 * _OUTCOMES[outcome] + 10 * bool(plate) + _DECISIONS.get(decision, _OTHER_DECISION)


def merged(one: Report, other: Report) -> Report:
    """What two reports of one passage say together; the same as `_INSERT_PASSAGES` makes of them in the database.

    How far it got and who decided, the further report knows. A plate that was read is never unread.
    """
    more = max(one, other, key=_key)
    plate, plate_read = max((one.plate_told, one.plate_read), (other.plate_told, other.plate_read))
    return replace(
        more, plate_told=plate, plate_read=plate_read, offline=one.offline or other.offline,
        image=max(one.image, other.image),
    )  # fmt: skip


def _key(report: Report) -> tuple[int, datetime, str, str, int]:
    return report.progress, report.outcome_at, report.decision, report.vehicle_class, report.score
