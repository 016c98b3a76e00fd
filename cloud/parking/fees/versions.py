"""The rule versions of some lots, and pricing stays by the one in force at the entry."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.periods import local_day
from cloud.parking.fees import repository
from cloud.parking.fees.circumstances import USUAL, Circumstances
from cloud.parking.fees.pricing import Assessment, Settlement, assess
from cloud.parking.records import (
    RuleVersion,
    SessionPayment,
)


@dataclass(frozen=True, slots=True)
class Pricing:
    """Rule versions of some lots of one project, and its zone: all that prices their stays."""

    zone: ZoneInfo
    versions: tuple[RuleVersion, ...]

    def rule_for(self, lot_id: int, entered_at: datetime) -> RuleVersion | None:
        """The version in force at the lot when the vehicle entered; it prices the whole stay."""
        day = local_day(entered_at, self.zone)
        return next((found for found in self.versions if found.lot_id == lot_id and found.covers(day)), None)

    def assess(
        self,
        version: RuleVersion,
        entered_at: datetime,
        until: datetime,
        vehicle_class: str,
        paid: Sequence[SessionPayment],
        circumstances: Circumstances = USUAL,
    ) -> Assessment:
        """See `pricing.assess`."""
        settlements = [Settlement(payment.paid_until, payment.amount) for payment in paid]
        return assess(version.rule, entered_at, until, vehicle_class, self.zone, settlements, circumstances)


async def pricing(conn: Conn, project_id: int, lot_ids: Sequence[int]) -> Pricing:
    """What is needed to price stays in these lots of a project."""
    project = await estate.get_project(conn, project_id)
    return Pricing(project.zone, tuple(await repository.rules(conn, lot_ids)))
