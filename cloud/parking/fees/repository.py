"""SQL of published fee rules."""

from collections.abc import Sequence
from datetime import date
from typing import LiteralString

import structlog
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from cloud.kit.db import Conn
from cloud.parking.fees.models import ParkingRule
from cloud.parking.records import (
    Lot,
    RuleVersion,
)

_log = structlog.get_logger(__name__)

_RULES: LiteralString = """
    SELECT id, lot_id, version, lower(valid) AS valid_from, upper(valid) AS valid_until, content
    FROM parking_rule_version WHERE lot_id = ANY (%(lots)s) ORDER BY lot_id, valid
"""
# A successor ends the validity of what was in force.
_END_RULE: LiteralString = """
    UPDATE parking_rule_version SET valid = daterange(lower(valid), %(valid_from)s)
    WHERE lot_id = %(lot_id)s AND upper_inf(valid) AND lower(valid) < %(valid_from)s
"""
_PUBLISH_RULE: LiteralString = """
    INSERT INTO parking_rule_version (project_id, lot_id, version, valid, content, content_hash, published_by)
    SELECT %(project_id)s, %(lot_id)s, coalesce(max(version), 0) + 1, daterange(%(valid_from)s, NULL), %(content)s,
           %(content_hash)s, %(published_by)s
    FROM parking_rule_version WHERE lot_id = %(lot_id)s
    RETURNING id, version
"""


async def publish_rule(
    conn: Conn, lot: Lot, valid_from: date, rule: ParkingRule, content_hash: bytes, published_by: int | None
) -> RuleVersion:
    """A new version in force from a local date; the one in force until then ends."""
    query = {"project_id": lot.project_id, "lot_id": lot.id, "valid_from": valid_from, "published_by": published_by}
    await conn.execute(_END_RULE, query)
    content = Jsonb(rule.model_dump(mode="json"))
    row = await (
        await conn.execute(_PUBLISH_RULE, {**query, "content": content, "content_hash": content_hash})
    ).fetchone()
    assert row is not None
    return RuleVersion(row["id"], lot.id, row["version"], valid_from, None, rule)


async def rules(conn: Conn, lot_ids: Sequence[int]) -> list[RuleVersion]:
    """All versions of the lots' rules, by lot and validity.

    One that cannot be read any more is told in the log and left out: nobody can price its stays, all others go on.
    """
    rows = await (await conn.execute(_RULES, {"lots": list(lot_ids)})).fetchall()
    found: list[RuleVersion] = []
    for row in rows:
        content = row.pop("content")
        try:
            found.append(RuleVersion(**row, rule=ParkingRule.model_validate(content)))
        except ValidationError as error:
            _log.error("parking.bad_rule", rule_version=row["id"], lot=row["lot_id"], error=str(error))
    return found
