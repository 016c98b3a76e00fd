"""Fee rules of lots in versions: published, looked up."""

import hashlib
from datetime import date

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.fees import repository
from cloud.parking.fees.models import ParkingRule
from cloud.parking.places.service import get_lot
from cloud.parking.records import (
    RuleVersion,
)


async def publish_rule(
    conn: Conn, lot_id: int, rule: ParkingRule, valid_from: date, published_by: int | None = None
) -> RuleVersion:
    """Puts a fee rule in force for vehicles that enter on `valid_from` or later; the rule before it ends there.

    Raises NotFound, and Conflict when the currency is not the project's or a version begins then or later.
    """
    lot = await get_lot(conn, lot_id)
    project = await estate.get_project(conn, lot.project_id)
    if rule.currency != project.currency:
        detail = f"the rule is in {rule.currency}, the project in {project.currency}"
        raise Conflict("other-currency", detail, field="currency")
    latest = next(reversed(await repository.rules(conn, [lot_id])), None)
    if latest is not None and latest.valid_from >= valid_from:
        detail = f"version {latest.version} begins on {latest.valid_from}: the next must begin later"
        raise Conflict("rule-overlaps", detail, field="valid_from")
    content_hash = hashlib.sha256(rule.model_dump_json().encode()).digest()
    return await repository.publish_rule(conn, lot, valid_from, rule, content_hash, published_by)


async def rules_of_lot(conn: Conn, lot_id: int) -> list[RuleVersion]:
    """All versions of a lot's rule, oldest first."""
    return await repository.rules(conn, [lot_id])
