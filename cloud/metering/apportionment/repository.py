"""SQL of apportionment: rules with their members, runs and shares."""

from collections.abc import Sequence
from datetime import date
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.estate.records import Validity
from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.metering.apportionment.records import Member, NewRule, OwnShare, Preview, Rule, Run, Share, Unshared

_RULE: LiteralString = """
    SELECT id, project_id, name, medium, shared, meter_id, quantity, basis, participants, building_id, excluded_kinds,
           only_occupied, lower(valid) AS valid_from, upper(valid) AS valid_until
    FROM apportionment_rule
"""
_RULES: LiteralString = (
    _RULE + " WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s) AND id > %(after)s"
    " ORDER BY id LIMIT %(limit)s"
)
_INSERT_RULE: LiteralString = """
    INSERT INTO apportionment_rule (project_id, name, medium, shared, meter_id, quantity, basis, participants,
                                    building_id, excluded_kinds, only_occupied, valid)
    VALUES (%(project_id)s, %(name)s, %(medium)s, %(shared)s, %(meter_id)s, %(quantity)s, %(basis)s, %(participants)s,
            %(building_id)s, %(excluded_kinds)s, %(only_occupied)s, daterange(%(valid_from)s, %(valid_until)s))
    RETURNING id
"""
_INSERT_MEMBERS: LiteralString = """
    INSERT INTO apportionment_member (rule_id, project_id, unit_id, weight, excluded)
    SELECT %(rule_id)s, %(project_id)s, m.* FROM unnest(%(units)s::bigint[], %(weights)s::bigint[],
                                                        %(excluded)s::boolean[]) AS m
"""
_MEMBERS: LiteralString = """
    SELECT unit_id, weight, excluded FROM apportionment_member WHERE rule_id = %s ORDER BY unit_id
"""
_END_RULE: LiteralString = """
    UPDATE apportionment_rule SET valid = daterange(lower(valid), %(valid_until)s) WHERE id = %(rule_id)s
"""
# Two that settle the same rule at once do it one after the other.
_LOCK_RULE: LiteralString = "SELECT FROM apportionment_rule WHERE id = %s FOR UPDATE"
_CHILDREN: LiteralString = """
    SELECT c.id FROM meter c JOIN meter m ON m.id = c.parent_id AND m.medium = c.medium
    WHERE c.parent_id = %s ORDER BY c.id
"""
_RUN: LiteralString = """
    SELECT id, project_id, rule_id, lower(period) AS start, upper(period) AS stop, version, amount, found,
           total_weight::text AS total_weight, estimated, actor, settled_at
    FROM apportionment_run
"""
_RUNS: LiteralString = _RUN + " WHERE rule_id = %(rule_id)s AND id < %(before)s ORDER BY id DESC LIMIT %(limit)s"
_NEWEST: LiteralString = (
    _RUN + " WHERE rule_id = %(rule_id)s AND period = daterange(%(start)s, %(stop)s) ORDER BY version DESC LIMIT 1"
)
_OTHER_PERIOD: LiteralString = (
    _RUN
    + """ WHERE rule_id = %(rule_id)s AND period && daterange(%(start)s, %(stop)s)
            AND period <> daterange(%(start)s, %(stop)s) ORDER BY id LIMIT 1"""
)
_INSERT_RUN: LiteralString = """
    INSERT INTO apportionment_run (project_id, rule_id, period, version, amount, found, total_weight, estimated, inputs,
                                   actor)
    VALUES (%(project_id)s, %(rule_id)s, daterange(%(start)s, %(stop)s), %(version)s, %(amount)s, %(found)s,
            %(total_weight)s, %(estimated)s, %(inputs)s, %(actor)s)
    RETURNING id
"""
_INSERT_SHARES: LiteralString = """
    INSERT INTO apportionment_share (run_id, project_id, unit_id, from_on, until_on, weight, quantity)
    SELECT %(run_id)s, %(project_id)s, s.*
    FROM unnest(%(units)s::bigint[], %(from)s::date[], %(until)s::date[], %(weights)s::numeric[],
                %(quantities)s::bigint[]) AS s
"""
_SHARES: LiteralString = """
    SELECT unit_id, from_on, until_on, weight::text AS weight, quantity FROM apportionment_share
    WHERE run_id = %s ORDER BY unit_id, from_on
"""
_UNSHARED: LiteralString = """
    SELECT r.id, greatest(r.found, 0) AS expected, coalesce(s.quantity, 0)::bigint AS shared
    FROM apportionment_run r
    LEFT JOIN (SELECT run_id, sum(quantity) AS quantity FROM apportionment_share
               WHERE project_id = %(project_id)s GROUP BY run_id) s ON s.run_id = r.id
    WHERE r.project_id = %(project_id)s
      AND (greatest(r.found, 0) <> coalesce(s.quantity, 0) OR r.amount <> greatest(r.found, 0))
    ORDER BY r.id
"""
# Of every period the newest version; row-level security leaves a resident those of his own stays.
_SHARES_OF_UNITS: LiteralString = """
    SELECT k.name AS rule_name, k.medium, k.basis, lower(r.period) AS start, upper(r.period) AS stop, r.version,
           r.amount, r.total_weight::text AS total_weight, s.unit_id, s.from_on, s.until_on, s.weight::text AS weight,
           s.quantity
    FROM apportionment_share s JOIN apportionment_run r ON r.id = s.run_id JOIN apportionment_rule k ON k.id = r.rule_id
    WHERE (%(units)s::bigint[] IS NULL OR s.unit_id = ANY (%(units)s::bigint[]))
      AND (%(project_id)s::bigint IS NULL OR s.project_id = %(project_id)s)
      AND NOT EXISTS (SELECT FROM apportionment_run later
                      WHERE later.rule_id = r.rule_id AND later.period = r.period AND later.version > r.version)
    ORDER BY s.from_on DESC, s.run_id, s.unit_id LIMIT %(limit)s
"""


async def rules(conn: Conn, project_id: int | None, after: int, limit: int) -> list[Rule]:
    """Rules by id."""
    query = {"project_id": project_id, "after": after, "limit": limit}
    return [_rule(row) for row in await (await conn.execute(_RULES, query)).fetchall()]


async def rule(conn: Conn, rule_id: int) -> Rule | None:
    """One rule."""
    row = await (await conn.execute(_RULE + " WHERE id = %s", (rule_id,))).fetchone()
    return None if row is None else _rule(row)


async def insert_rule(conn: Conn, project_id: int, new: NewRule) -> int:
    """A new rule with its members; its id."""
    query = {
        "project_id": project_id,
        "name": new.name,
        "medium": new.medium,
        "shared": new.shared,
        "meter_id": new.meter_id,
        "quantity": new.quantity,
        "basis": new.basis,
        "participants": new.participants,
        "building_id": new.building_id,
        "excluded_kinds": list(new.excluded_kinds),
        "only_occupied": new.only_occupied,
        "valid_from": new.valid.start,
        "valid_until": new.valid.end,
    }
    row = await (await conn.execute(_INSERT_RULE, query)).fetchone()
    assert row is not None
    members = {
        "rule_id": row["id"],
        "project_id": project_id,
        "units": [one.unit_id for one in new.members],
        "weights": [one.weight for one in new.members],
        "excluded": [one.excluded for one in new.members],
    }
    await conn.execute(_INSERT_MEMBERS, members)
    return int(row["id"])


async def end_rule(conn: Conn, rule_id: int, valid_until: date) -> None:
    """The rule holds up to, not including, this day."""
    await conn.execute(_END_RULE, {"rule_id": rule_id, "valid_until": valid_until})


async def lock_rule(conn: Conn, rule_id: int) -> None:
    """Makes others that settle the rule wait until this transaction ends."""
    await conn.execute(_LOCK_RULE, (rule_id,))


async def members(conn: Conn, rule_id: int) -> list[Member]:
    """Units that the rule names."""
    return [Member(**row) for row in await (await conn.execute(_MEMBERS, (rule_id,))).fetchall()]


async def children(conn: Conn, meter_id: int) -> list[int]:
    """Direct sub-meters of the same medium."""
    return [row["id"] for row in await (await conn.execute(_CHILDREN, (meter_id,))).fetchall()]


async def runs(conn: Conn, rule_id: int, before: int, limit: int) -> list[Run]:
    """Runs of a rule, newest first."""
    query = {"rule_id": rule_id, "before": before, "limit": limit}
    return [_run(row) for row in await (await conn.execute(_RUNS, query)).fetchall()]


async def run(conn: Conn, run_id: int) -> Run | None:
    """One run."""
    row = await (await conn.execute(_RUN + " WHERE id = %s", (run_id,))).fetchone()
    return None if row is None else _run(row)


async def newest_run(conn: Conn, rule_id: int, period: Period) -> Run | None:
    """The newest version of exactly this period."""
    row = await (await conn.execute(_NEWEST, _dates(rule_id, period))).fetchone()
    return None if row is None else _run(row)


async def run_of_other_period(conn: Conn, rule_id: int, period: Period) -> Run | None:
    """A run over days of this period that is not of this period."""
    row = await (await conn.execute(_OTHER_PERIOD, _dates(rule_id, period))).fetchone()
    return None if row is None else _run(row)


async def insert_run(conn: Conn, made: Preview, version: int, actor: str) -> int:
    """A settled version with its shares; its id."""
    query = {
        **_dates(made.rule.id, made.period),
        "project_id": made.rule.project_id,
        "version": version,
        "amount": made.amount,
        "found": made.found,
        "total_weight": made.total_weight,
        "estimated": made.estimated,
        "inputs": Jsonb(made.inputs),
        "actor": actor,
    }
    row = await (await conn.execute(_INSERT_RUN, query)).fetchone()
    assert row is not None
    shares = {
        "run_id": row["id"],
        "project_id": made.rule.project_id,
        "units": [share.unit_id for share in made.shares],
        "from": [share.from_on for share in made.shares],
        "until": [share.until_on for share in made.shares],
        "weights": [share.weight for share in made.shares],
        "quantities": [share.quantity for share in made.shares],
    }
    await conn.execute(_INSERT_SHARES, shares)
    return int(row["id"])


async def shares(conn: Conn, run_id: int) -> list[Share]:
    """Shares of a run by unit."""
    return [_share(row) for row in await (await conn.execute(_SHARES, (run_id,))).fetchall()]


async def unshared(conn: Conn, project_id: int) -> list[Unshared]:
    """Runs of a project whose shares are not what was to be shared out."""
    rows = await (await conn.execute(_UNSHARED, {"project_id": project_id})).fetchall()
    return [Unshared(row["id"], row["expected"], row["shared"]) for row in rows]


async def shares_of_units(
    conn: Conn, unit_ids: Sequence[int] | None, project_id: int | None, limit: int
) -> list[OwnShare]:
    """Shares of the units (None: of all), newest first."""
    query = {"units": None if unit_ids is None else list(unit_ids), "project_id": project_id, "limit": limit}
    rows = await (await conn.execute(_SHARES_OF_UNITS, query)).fetchall()
    return [
        OwnShare(
            row["rule_name"], row["medium"], row["basis"], Period(row["start"], row["stop"]), row["version"],
            row["amount"], int(row["total_weight"]), _share(row),
        )
        for row in rows
    ]  # fmt: skip


def _dates(rule_id: int, period: Period) -> dict[str, object]:
    return {"rule_id": rule_id, "start": period.start, "stop": period.end}


def _rule(row: dict[str, Any]) -> Rule:
    valid = Validity(row.pop("valid_from"), row.pop("valid_until"))
    return Rule(**{**row, "excluded_kinds": tuple(row["excluded_kinds"])}, valid=valid)


def _run(row: dict[str, Any]) -> Run:
    period = Period(row.pop("start"), row.pop("stop"))
    return Run(**{**row, "total_weight": int(row["total_weight"])}, period=period)


def _share(row: dict[str, Any]) -> Share:
    return Share(row["unit_id"], row["from_on"], row["until_on"], int(row["weight"]), row["quantity"])
