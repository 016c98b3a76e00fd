"""SQL of readings by meter, unit, building and project, through the guarded views."""

from typing import LiteralString

# The edit in force of each reading of `page`; one that was taken back counts as none.
_WITH_EDITS: LiteralString = """
    SELECT p.meter_id, m.code AS meter, p.taken_at, p.value, p.quality,
           edit.action, edit.value AS edited, edit.version
    FROM page p JOIN meter m ON m.id = p.meter_id
    LEFT JOIN LATERAL (
        SELECT newest.* FROM (
            SELECT e.action, e.value, e.version FROM reading_edit e
            WHERE e.meter_id = p.meter_id AND e.channel = %(channel)s AND e.taken_at = p.taken_at
            ORDER BY e.version DESC LIMIT 1) AS newest
        WHERE newest.action <> 'original') AS edit ON true
"""
# Each meter gives at most a page of its own, found by its key.
_TIMED_PAGE: LiteralString = """
    WITH page AS (
        SELECT own.* FROM unnest(%(meters)s::bigint[]) AS wanted (meter_id)
        CROSS JOIN LATERAL (
            SELECT r.meter_id, r.taken_at, r.value, r.quality FROM reading r
            WHERE r.meter_id = wanted.meter_id AND r.channel = %(channel)s
              AND r.taken_at >= %(start)s AND r.taken_at < %(end)s AND r.taken_at {beyond}= %(at)s
              AND (r.taken_at {beyond} %(at)s OR r.meter_id {beyond} %(after)s)
            ORDER BY r.taken_at {way} LIMIT %(limit)s) AS own
        ORDER BY own.taken_at {way}, own.meter_id {way} LIMIT %(limit)s)
"""
# Meter by meter, as both engines store them.
_BATCH_PAGE: LiteralString = """
    WITH page AS (
        SELECT own.* FROM unnest(%(meters)s::bigint[]) AS wanted (meter_id)
        CROSS JOIN LATERAL (
            SELECT r.meter_id, r.taken_at, r.value, r.quality FROM reading r
            WHERE r.meter_id = wanted.meter_id AND r.channel = %(channel)s
              AND r.taken_at >= %(start)s AND r.taken_at < %(end)s
            ORDER BY r.taken_at LIMIT %(limit)s) AS own
        ORDER BY own.meter_id, own.taken_at LIMIT %(limit)s)
"""
# The limit inside keeps the statement from becoming a join, which would not reach the keys behind the view.
COUNT: LiteralString = """
    SELECT count(*) AS rows FROM (
        SELECT FROM unnest(%(meters)s::bigint[]) AS wanted (meter_id)
        CROSS JOIN LATERAL (
            SELECT FROM reading r WHERE r.meter_id = wanted.meter_id AND r.channel = %(channel)s
              AND r.taken_at >= %(start)s AND r.taken_at < %(end)s
            LIMIT %(limit)s) AS own
        LIMIT %(limit)s) AS counted
"""

_IN_TIME: LiteralString = _TIMED_PAGE + _WITH_EDITS + " ORDER BY p.taken_at {way}, p.meter_id {way}"
NEWEST: LiteralString = _IN_TIME.format(beyond="<", way="DESC")
OLDEST: LiteralString = _IN_TIME.format(beyond=">", way="ASC")
BATCH: LiteralString = _BATCH_PAGE + _WITH_EDITS + " ORDER BY p.meter_id, p.taken_at"
