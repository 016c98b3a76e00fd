"""SQL of gateways' configurations: versions, their way down, and what the gateway reports of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.devices import orders
from cloud.devices.cursors import after_number
from cloud.devices.records import Configuration, ConfigurationSummary
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from gateway.contract.configuration import ConfigurationReport

_SUMMARY: LiteralString = """
    SELECT c.id, c.project_id, c.gateway_id, c.number, c.confirm_s, c.restores, c.reason, c.actor, c.issued_at, c.state,
           c.detail, c.updated_at
"""
_WHOLE: LiteralString = _SUMMARY + ", g.code AS gateway_code, c.site, c.templates"
_FROM: LiteralString = " FROM gateway_configuration c JOIN gateway g ON g.id = c.gateway_id "
_LIST: LiteralString = (
    _SUMMARY
    + _FROM
    + """
    WHERE c.gateway_id = %(gateway_id)s AND (%(before)s::bigint IS NULL OR c.number < %(before)s)
    ORDER BY c.number DESC LIMIT %(limit)s
"""
)
_ONE: LiteralString = _WHOLE + _FROM + " WHERE c.gateway_id = %(gateway_id)s AND c.number = %(number)s"
# One configuration of a gateway after the other: whoever comes second waits here.
_LOCK: LiteralString = "SELECT id FROM gateway WHERE id = %s FOR NO KEY UPDATE"
_NEWEST: LiteralString = """
    SELECT coalesce((SELECT max(number) FROM gateway_configuration WHERE gateway_id = %(gateway_id)s), 0) AS newest,
           coalesce((SELECT highest FROM configuration_delivery WHERE gateway_id = %(gateway_id)s), 0) AS highest
"""
_SUPERSEDE: LiteralString = """
    UPDATE gateway_configuration SET state = 'superseded', updated_at = now()
    WHERE gateway_id = %s AND state = 'queued'
"""
_INSERT: LiteralString = """
    INSERT INTO gateway_configuration
        (project_id, gateway_id, number, site, templates, confirm_s, restores, reason, actor, issued_at)
    VALUES (%(project_id)s, %(gateway_id)s, %(number)s, %(site)s, %(templates)s, %(confirm_s)s, %(restores)s,
            %(reason)s, %(actor)s, date_trunc('milliseconds', now()))
"""
# Published again after 3, 6, 12 … seconds, at least once a minute: a gateway that was away gets it soon.
_TAKE_DUE: LiteralString = (
    _WHOLE
    + _FROM
    + """
    LEFT JOIN configuration_delivery d ON d.gateway_id = c.gateway_id AND d.number = c.number
    WHERE c.state = 'queued'
      AND (d.published_at IS NULL
           OR d.published_at < now() - least(interval '3 seconds' * 2 ^ least(d.times - 1, 10), interval '1 minute'))
    ORDER BY c.id LIMIT %(limit)s FOR UPDATE OF c SKIP LOCKED
"""
)
_PUBLISHED: LiteralString = """
    INSERT INTO configuration_delivery AS d (gateway_id, project_id, number, published_at, times)
    VALUES (%(gateway_id)s, %(project_id)s, %(number)s, now(), 1)
    ON CONFLICT (gateway_id) DO UPDATE SET number = excluded.number, published_at = now(),
        times = CASE WHEN d.number = excluded.number THEN d.times + 1 ELSE 1 END
"""
_HELD_BACK: LiteralString = """
    UPDATE configuration_delivery SET published_at = NULL, times = greatest(times - 1, 0)
    WHERE gateway_id = %s AND number = %s
"""
_KNOWS: LiteralString = """
    INSERT INTO configuration_delivery AS d (gateway_id, project_id, number, highest)
    SELECT id, project_id, 0, %(highest)s FROM gateway WHERE id = %(gateway_id)s
    ON CONFLICT (gateway_id) DO UPDATE SET highest = excluded.highest WHERE d.highest < excluded.highest
"""
# A state moves forward only, in whatever order reports come: a confirmed one may still be rolled back, never the
# other way round; and a refusal of an old number that somebody sent again says nothing of what became of it before.
_MOVE: LiteralString = """
    UPDATE gateway_configuration c SET state = r.state, detail = r.detail, updated_at = now()
    FROM unnest(%(numbers)s::bigint[], %(states)s::text[], %(details)s::text[]) AS r (number, state, detail)
    WHERE c.gateway_id = %(gateway_id)s AND c.number = r.number
      AND array_position(%(order)s::text[], c.state) < array_position(%(order)s::text[], r.state)
"""
_DOUBT: LiteralString = """
    UPDATE gateway_configuration SET detail = %(detail)s, updated_at = now()
    WHERE gateway_id = %(gateway_id)s AND number = %(number)s AND state = 'queued' AND detail <> %(detail)s
"""
_ORDER = ["queued", "superseded", "received", "applied", "refused", "confirmed", "rolled-back"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration to be made."""

    project_id: int
    gateway_id: int
    site: str
    confirm_s: int
    reason: str
    actor: str
    templates: dict[str, str] = field(default_factory=dict)
    restores: int | None = None


async def newest_number(conn: Conn, gateway_id: int, *, lock: bool = False) -> tuple[int, int]:
    """(highest number here, highest that the gateway knows), 0 for none; with `lock` until the transaction ends."""
    if lock:
        await conn.execute(_LOCK, (gateway_id,))
    row = await (await conn.execute(_NEWEST, {"gateway_id": gateway_id})).fetchone()
    assert row is not None
    return row["newest"], row["highest"]


async def insert(conn: Conn, draft: Draft, number: int) -> None:
    """Queues a configuration in place of one that no gateway took yet, and wakes the downlink at the commit."""
    await conn.execute(_SUPERSEDE, (draft.gateway_id,))
    values = {
        "project_id": draft.project_id,
        "gateway_id": draft.gateway_id,
        "number": number,
        "site": draft.site,
        "templates": Jsonb(draft.templates),
        "confirm_s": draft.confirm_s,
        "restores": draft.restores,
        "reason": draft.reason,
        "actor": draft.actor,
    }
    await conn.execute(_INSERT, values)
    await conn.execute("SELECT pg_notify(%s, %s)", (orders.CHANNEL, orders.KNOWLEDGE))


async def one(conn: Conn, gateway_id: int, number: int) -> Configuration | None:
    """One configuration with its content."""
    row = await (await conn.execute(_ONE, {"gateway_id": gateway_id, "number": number})).fetchone()
    return None if row is None else Configuration(**row)


async def before(conn: Conn, gateway_id: int, number: int) -> Configuration | None:
    """The configuration with the next lower number: after a restored backup numbers may be missing."""
    query = _WHOLE + _FROM + " WHERE c.gateway_id = %s AND c.number < %s ORDER BY c.number DESC LIMIT 1"
    row = await (await conn.execute(query, (gateway_id, number))).fetchone()
    return None if row is None else Configuration(**row)


async def newest(conn: Conn, page: PageRequest, gateway_id: int) -> Page[ConfigurationSummary]:
    """Configurations of a gateway, newest first; the cursor is the number."""
    query = {"gateway_id": gateway_id, "before": after_number(page), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([ConfigurationSummary(**row) for row in rows], page, lambda found: (found.number,))


async def take_due(conn: Conn, limit: int) -> list[Configuration]:
    """Queued configurations that are to be published now, locked until the transaction ends."""
    rows = await (await conn.execute(_TAKE_DUE, {"limit": limit})).fetchall()
    return [Configuration(**row) for row in rows]


async def mark_published(conn: Conn, configuration: Configuration) -> None:
    """Remembers when it was handed to the broker last."""
    query = {
        "gateway_id": configuration.gateway_id,
        "project_id": configuration.project_id,
        "number": configuration.number,
    }
    await conn.execute(_PUBLISHED, query)


async def mark_held_back(conn: Conn, configuration: Configuration) -> None:
    """It was not handed to the broker: whoever looks next publishes it."""
    await conn.execute(_HELD_BACK, (configuration.gateway_id, configuration.number))


async def move(conn: Conn, gateway_id: int, reports: Sequence[ConfigurationReport]) -> int:
    """Applies what the gateway reports, forward only; returns how many configurations moved."""
    furthest: dict[int, ConfigurationReport] = {}
    for report in reports:
        known = furthest.get(report.number)
        if report.proven and (known is None or _ORDER.index(report.state) > _ORDER.index(known.state)):
            furthest[report.number] = report
        elif not report.proven:
            doubt = {"gateway_id": gateway_id, "number": report.number, "detail": report.detail}
            await conn.execute(_DOUBT, doubt)
    if not furthest:
        return 0
    ordered = [furthest[number] for number in sorted(furthest)]
    query = {
        "gateway_id": gateway_id,
        "numbers": [report.number for report in ordered],
        "states": [report.state.value for report in ordered],
        "details": [report.detail for report in ordered],
        "order": _ORDER,
    }
    # First the configurations, then how they are delivered, as the downlink does: so neither waits for the other.
    moved = (await conn.execute(_MOVE, query)).rowcount
    await conn.execute(_KNOWS, {"gateway_id": gateway_id, "highest": max(report.highest for report in ordered)})
    return moved
