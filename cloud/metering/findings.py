"""What the rules found, put beside what was found before: new findings are added, open ones that no longer hold go."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from cloud.kit.db import Conn
from cloud.metering import settling_sql as sql
from cloud.metering.records import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a rule. Times in ms since 1970."""

    meter_id: int
    channel: int
    rule: Rule
    from_ms: int
    until_ms: int
    found: int
    expected: int

    @property
    def key(self) -> tuple[int, int, str, int]:
        """What makes it the same finding when it is found again."""
        return self.meter_id, self.channel, self.rule, self.from_ms


@dataclass(frozen=True, slots=True)
class Judged:
    """A meter and the time for which rules were asked: [from, until) in ms."""

    meter_id: int
    from_ms: int
    until_ms: int


async def keep(
    conn: Conn,
    project_id: int,
    judged: Sequence[Judged],
    rules: Collection[Rule],
    findings: Sequence[Finding],
    unsure: Collection[tuple[int, int, str, int]] = (),
) -> int:
    """Writes findings of `rules` about the time that was judged; returns how many rows changed.

    Open findings of these rules that begin in that time and are not among `findings` are deleted, unless their key is
    in `unsure`. Decided ones stay as they are.
    """
    query = {
        "project_id": project_id,
        "meters": [one.meter_id for one in judged],
        "from": [one.from_ms for one in judged],
        "until": [one.until_ms for one in judged],
        "rules": sorted(rules),
    }
    known = await (await conn.execute(sql.OPEN_FINDINGS, query)).fetchall()
    still = {one.key for one in findings} | set(unsure)
    gone = [row["id"] for row in known if (row["meter_id"], row["channel"], row["rule"], row["from_ms"]) not in still]
    changed = 0
    if gone:
        changed += (await conn.execute(sql.GONE, {"ids": gone})).rowcount
    if findings:
        changed += await _write(conn, project_id, findings)
    return changed


async def _write(conn: Conn, project_id: int, findings: Sequence[Finding]) -> int:
    query = {
        "project_id": project_id,
        "meters": [one.meter_id for one in findings],
        "channels": [one.channel for one in findings],
        "rules": [one.rule for one in findings],
        "from": [one.from_ms for one in findings],
        "until": [one.until_ms for one in findings],
        "found": [one.found for one in findings],
        "expected": [one.expected for one in findings],
    }
    return (await conn.execute(sql.KEEP, query)).rowcount
