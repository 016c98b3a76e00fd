"""A year of stays behind a lot, as one in use has: what is new is found among them, by plans for large tables."""

from datetime import datetime
from typing import Final

import psycopg

STAYS: Final = 100_000

# The audit trail of what is made up here would be most of the time. Plates lie far apart: nearly the same ones are
# compared by what was misread.
_STAYS: Final = """
    INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, left_at, state, fee, fee_until,
                                 currency)
    SELECT l.project_id, l.id, '京P' || lpad((n * 7919777::bigint %% 100000000)::text, 8, '0'), 'small', at,
           at + interval '1 hour', 'closed', 0, at + interval '1 hour', 'CNY'
    FROM generate_series(1, %(stays)s::int) AS n, (SELECT id, project_id FROM parking_lot ORDER BY id LIMIT 1) AS l,
         LATERAL (SELECT %(until)s - interval '2 hours' - n * interval '1 year' / %(stays)s AS at) AS t
"""
_PASSAGES: Final = """
    WITH lane AS (
        SELECT direction, array_agg(id ORDER BY id) AS ids, count(*) AS number FROM parking_lane GROUP BY direction)
    INSERT INTO passage (id, project_id, lane_id, session_id, plate, plate_told, plate_read, vehicle_class, score,
                         direction, taken_at, outcome, outcome_at, decision, progress)
    SELECT gen_random_uuid(), s.project_id, lane.ids[1 + s.id % lane.number], s.id, s.plate, s.plate, s.plate, 'small',
           95, e.direction, e.at, 'passed', e.at, 'temporary', 2
    FROM parking_session s, (VALUES ('entry'), ('exit')) AS d (direction) JOIN lane USING (direction),
         LATERAL (SELECT d.direction, CASE d.direction WHEN 'entry' THEN s.entered_at ELSE s.left_at END AS at) AS e
"""


def fill(dsn: str, until: datetime, stays: int = STAYS) -> None:
    """Gives the first lot stays that are over, of as many vehicles, through the year until then; lanes must be there.

    Ends with statistics for the planner, as the database makes them by itself within a minute.
    """
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE parking_session DISABLE TRIGGER USER")
        conn.execute(_STAYS, {"stays": stays, "until": until})
        conn.execute("ALTER TABLE parking_session ENABLE TRIGGER USER")
        conn.execute(_PASSAGES)
        conn.execute("VACUUM ANALYZE")
