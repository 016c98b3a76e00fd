"""Statements of imports of readings: files and their rows, and what the store holds around a row."""

from typing import LiteralString

_IMPORT: LiteralString = """
    SELECT id, project_id, file_name, sha256, size, kind, stamped, interval_s, opening, time_zone, dry_run, state,
           loaded, header, rows, answered, counts, error_code, error, actor, created_at, finished_at
    FROM reading_import
"""
INSERT: LiteralString = """
    INSERT INTO reading_import (project_id, file_name, sha256, size, kind, stamped, interval_s, opening, time_zone,
                                dry_run, actor)
    VALUES (%(project_id)s, %(file_name)s, %(sha256)s, %(size)s, %(kind)s, %(stamped)s, %(interval_s)s, %(opening)s,
            %(time_zone)s, %(dry_run)s, %(actor)s)
    RETURNING id
"""
# In binary: a megabyte as text would be two.
ADD_PART: LiteralString = """
    INSERT INTO reading_import_part (import_id, nth, project_id, content) VALUES (%s, %s, %s, %b)
"""
COPY_PARTS: LiteralString = """
    INSERT INTO reading_import_part (import_id, nth, project_id, content)
    SELECT %(made)s, nth, project_id, content FROM reading_import_part WHERE import_id = %(of)s
"""
PARTS: LiteralString = "SELECT content FROM reading_import_part WHERE import_id = %s ORDER BY nth"
# Two who upload the same file at once do it one after the other.
ONE_AT_A_TIME: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended(%(sha256)s, %(project_id)s))"
SAME_FILE: LiteralString = """
    SELECT id FROM reading_import
    WHERE project_id = %(project_id)s AND sha256 = %(sha256)s AND NOT dry_run AND state <> 'failed' ORDER BY id LIMIT 1
"""
GET: LiteralString = _IMPORT + " WHERE id = %s"
LIST: LiteralString = (
    _IMPORT
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
      AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
BEGIN: LiteralString = """
    UPDATE reading_import SET state = 'running', error_code = '', error = '', finished_at = NULL WHERE id = %s
"""
LOADED: LiteralString = "UPDATE reading_import SET loaded = true WHERE id = %s"
SET_HEADER: LiteralString = "UPDATE reading_import SET header = %s WHERE id = %s"
REFUSE: LiteralString = """
    UPDATE reading_import SET state = 'failed', error_code = %(code)s, error = %(detail)s, finished_at = now()
    WHERE id = %(id)s
"""
QUEUE: LiteralString = "UPDATE reading_import SET state = 'queued', finished_at = NULL WHERE id = %s"
COUNT: LiteralString = """
    WITH counted AS (
        SELECT outcome, count(*)::int AS rows FROM reading_import_row WHERE import_id = %(id)s GROUP BY outcome)
    UPDATE reading_import SET
        rows = (SELECT coalesce(sum(rows), 0) FROM counted),
        answered = (SELECT coalesce(sum(rows), 0) FROM counted WHERE outcome NOT IN ('new', 'waiting')),
        counts = (SELECT coalesce(jsonb_object_agg(outcome, rows), '{}') FROM counted)
    WHERE id = %(id)s
"""
# The key of a job begins with its project.
HAS_WORKER: LiteralString = """
    SELECT EXISTS (SELECT FROM job WHERE kind = %(kind)s AND state IN ('queued', 'running')
                                     AND dedupe_key = %(project_id)s || ':' || %(key)s) AS found
"""
UNFINISHED: LiteralString = """
    SELECT EXISTS (SELECT FROM reading_import_row
                   WHERE import_id = %(id)s AND outcome IN ('new', 'waiting')) AS unfinished
"""
FINISH: LiteralString = "UPDATE reading_import SET state = 'done', finished_at = now() WHERE id = %s"
LAST_LINE: LiteralString = "SELECT coalesce(max(line), 0) AS line FROM reading_import_row WHERE import_id = %s"
# Row-level security takes no COPY.
ADD_ROWS: LiteralString = """
    INSERT INTO reading_import_row (import_id, project_id, line, raw, outcome, code, field, detail, meter_id, channel,
                                    placed_at, taken_at, until_at, value)
    SELECT %(id)s, %(project_id)s, n.line, n.raw::jsonb, n.outcome, n.code, n.field, n.detail, n.meter_id, n.channel,
           to_timestamp(n.placed_ms / 1000.0), to_timestamp(n.taken_ms / 1000.0), to_timestamp(n.until_ms / 1000.0),
           n.value
    FROM unnest(%(lines)s::int[], %(raw)s::text[], %(outcomes)s::text[], %(codes)s::text[], %(fields)s::text[],
                %(details)s::text[], %(meters)s::bigint[], %(channels)s::smallint[], %(placed)s::bigint[],
                %(taken)s::bigint[], %(until)s::bigint[], %(values)s::bigint[])
         AS n (line, raw, outcome, code, field, detail, meter_id, channel, placed_ms, taken_ms, until_ms, value)
"""
NEW_ROWS: LiteralString = """
    SELECT line, raw FROM reading_import_row WHERE import_id = %(id)s AND outcome = 'new' ORDER BY line LIMIT %(limit)s
"""
# A row whose time cannot be read keeps its place among the others.
UNDERSTOOD: LiteralString = """
    UPDATE reading_import_row r SET outcome = n.outcome, code = n.code, field = n.field, detail = n.detail,
           meter_id = n.meter_id, channel = n.channel, taken_at = to_timestamp(n.taken_ms / 1000.0),
           until_at = to_timestamp(n.until_ms / 1000.0), value = n.value,
           placed_at = coalesce(to_timestamp(n.taken_ms / 1000.0), r.placed_at, to_timestamp(n.placed_ms / 1000.0))
    FROM unnest(%(lines)s::int[], %(outcomes)s::text[], %(codes)s::text[], %(fields)s::text[], %(details)s::text[],
                %(meters)s::bigint[], %(channels)s::smallint[], %(placed)s::bigint[], %(taken)s::bigint[],
                %(until)s::bigint[], %(values)s::bigint[])
         AS n (line, outcome, code, field, detail, meter_id, channel, placed_ms, taken_ms, until_ms, value)
    WHERE r.import_id = %(id)s AND r.line = n.line
"""
# Of every register that a waiting row is of, all rows in their order: those that are answered say what was before.
IN_SERIES: LiteralString = """
    SELECT line, meter_id, channel, (extract(epoch FROM placed_at) * 1000)::bigint AS taken_ms,
           (extract(epoch FROM until_at) * 1000)::bigint AS until_ms, value, outcome, register, confirmed_code
    FROM reading_import_row
    WHERE import_id = %(id)s AND outcome <> 'new'
      AND (meter_id, channel, placed_at, line) > (%(meter_id)s, %(channel)s::smallint,
                                                  to_timestamp(%(placed_ms)s::bigint / 1000.0), %(line)s::int)
      AND (meter_id, channel) IN (SELECT DISTINCT meter_id, channel FROM reading_import_row
                                  WHERE import_id = %(id)s AND outcome = 'waiting')
    ORDER BY meter_id, channel, placed_at, line LIMIT %(limit)s
"""
ANSWER: LiteralString = """
    UPDATE reading_import_row r SET outcome = n.outcome, code = n.code, field = n.field, detail = n.detail,
                                    register = n.register
    FROM unnest(%(lines)s::int[], %(outcomes)s::text[], %(codes)s::text[], %(fields)s::text[], %(details)s::text[],
                %(registers)s::bigint[]) AS n (line, outcome, code, field, detail, register)
    WHERE r.import_id = %(id)s AND r.line = n.line
"""
ROWS: LiteralString = """
    SELECT line, raw, outcome, code, field, detail, meter_id, channel, taken_at, until_at, value, register, confirmed,
           confirmer
    FROM reading_import_row
    WHERE import_id = %(id)s AND line > %(after)s AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
      AND (%(code)s::text IS NULL OR code = %(code)s)
      AND (NOT %(not_stored)s OR outcome NOT IN ('stored', 'repeated'))
    ORDER BY line LIMIT %(limit)s
"""
CODES: LiteralString = """
    SELECT code, count(*)::int AS rows FROM reading_import_row
    WHERE import_id = %s AND outcome = 'needs-confirmation' GROUP BY code ORDER BY code
"""
# Confirmed rows are understood already; those behind them may follow now and are looked at again.
CONFIRM: LiteralString = """
    UPDATE reading_import_row SET confirmed_code = code, confirmed = %(reason)s, confirmer = %(actor)s
    WHERE import_id = %(id)s AND outcome = 'needs-confirmation' AND (%(code)s::text IS NULL OR code = %(code)s)
      AND (%(lines)s::int[] IS NULL OR line = ANY (%(lines)s::int[]))
"""
LOOK_AGAIN: LiteralString = """
    UPDATE reading_import_row SET outcome = 'new'
    WHERE import_id = %s AND outcome IN ('refused', 'needs-confirmation')
"""
WAIT_AGAIN: LiteralString = """
    UPDATE reading_import_row SET outcome = 'waiting' WHERE import_id = %s AND outcome = 'needs-confirmation'
"""
METERS: LiteralString = """
    SELECT m.id, m.code, r.serial FROM meter m JOIN meter_register r ON r.meter_id = m.id
    WHERE m.project_id = %(project_id)s
      AND (m.code = ANY (%(codes)s) OR (r.serial <> '' AND r.serial = ANY (%(serials)s)))
    ORDER BY m.id
"""
# A reading that counts, with the value that staff gave it; what they set aside or a rule refused does not.
_COUNTS: LiteralString = """
        SELECT r.taken_at, coalesce(edit.value, r.value) AS value FROM store.reading r
        LEFT JOIN LATERAL (SELECT d.action, d.value FROM reading_edit d
                           WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
                           ORDER BY d.version DESC LIMIT 1) AS edit ON true
        WHERE r.meter_id = n.meter_id AND r.channel = n.channel AND edit.action IS DISTINCT FROM 'ignore'
          AND (edit.action IN ('set', 'use') OR NOT EXISTS (
               SELECT FROM store.refused_reading e
               WHERE e.meter_id = r.meter_id AND e.channel = r.channel AND e.taken_at = r.taken_at))
"""
_HERE: LiteralString = """
    SELECT here.value AS here, (extract(epoch FROM before.taken_at) * 1000)::bigint AS before_ms,
           before.value AS before, (extract(epoch FROM after.taken_at) * 1000)::bigint AS after_ms, after.value AS after
    FROM unnest(%(meters)s, %(channels)s, %(times)s, %(since)s, %(until)s)
         WITH ORDINALITY AS n (meter_id, channel, taken_at, since, until, nth)
    LEFT JOIN store.reading here ON here.meter_id = n.meter_id AND here.channel = n.channel
                                AND here.taken_at = n.taken_at
    LEFT JOIN LATERAL ("""
_BEFORE: LiteralString = """
        AND r.taken_at >= n.since AND r.taken_at < n.taken_at ORDER BY r.taken_at DESC LIMIT 1) AS before ON true
    LEFT JOIN LATERAL ("""
_AFTER: LiteralString = """
        AND r.taken_at > n.taken_at AND r.taken_at < n.until ORDER BY r.taken_at LIMIT 1) AS after ON true
    ORDER BY n.nth
"""
AROUND: LiteralString = _HERE + _COUNTS + _BEFORE + _COUNTS + _AFTER
# All readings of a stretch of each register, those that do not count with a null, up to some for each.
BETWEEN: LiteralString = """
    SELECT n.nth - 1 AS nth, (extract(epoch FROM found.taken_at) * 1000)::bigint AS ms, found.value, found.counts
    FROM unnest(%(meters)s, %(channels)s, %(from)s, %(until)s, %(most)s)
         WITH ORDINALITY AS n (meter_id, channel, from_at, until_at, most, nth)
    CROSS JOIN LATERAL (
        SELECT r.taken_at, r.value,
               CASE WHEN edit.action IS DISTINCT FROM 'ignore' AND (edit.action IN ('set', 'use') OR NOT EXISTS (
                         SELECT FROM store.refused_reading e
                         WHERE e.meter_id = r.meter_id AND e.channel = r.channel AND e.taken_at = r.taken_at))
                    THEN coalesce(edit.value, r.value) END AS counts
        FROM store.reading r
        LEFT JOIN LATERAL (SELECT d.action, d.value FROM reading_edit d
                           WHERE d.meter_id = r.meter_id AND d.channel = r.channel AND d.taken_at = r.taken_at
                           ORDER BY d.version DESC LIMIT 1) AS edit ON true
        WHERE r.meter_id = n.meter_id AND r.channel = n.channel
          AND r.taken_at >= n.from_at AND r.taken_at <= n.until_at
        ORDER BY r.taken_at LIMIT n.most) AS found
"""
BELIEVE: LiteralString = """
    INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, reason, actor)
    SELECT w.project_id, w.meter_id, w.channel, n.taken_at,
           coalesce((SELECT max(e.version) FROM reading_edit e WHERE e.meter_id = w.meter_id AND e.channel = w.channel
                                                                 AND e.taken_at = n.taken_at), 0) + 1,
           'use', w.confirmed, w.confirmer
    FROM unnest(%(lines)s::int[], %(times)s) AS n (line, taken_at)
    JOIN reading_import_row w ON w.import_id = %(id)s AND w.line = n.line
"""
