-- Counting what a statement added to usage cost nearly as much as storing it. Here hours are hashed and not sorted,
-- the beginning of hours is computed once a project and not once a row, and months are added up from days.

-- Rows of one statement come to so many groups that the planner, which knows nothing of a transition table, sorts them.
CREATE OR REPLACE FUNCTION gm.count_hours(hours gm.counted_hour[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_sort = off SET work_mem = '64MB' AS
$$
BEGIN
    INSERT INTO store.usage_total_change
    SELECT h.project_id, m.medium, h.channel, h.start, h.reach,
           coalesce(sum(h.quantity) FILTER (WHERE m.parent_id IS NULL), 0),
           coalesce(sum(h.rows) FILTER (WHERE m.parent_id IS NULL), 0), sum(h.quantity), sum(h.rows),
           coalesce(sum(h.covered_s) FILTER (WHERE m.parent_id IS NULL), 0),
           coalesce(sum(h.estimated_s) FILTER (WHERE m.parent_id IS NULL), 0), sum(h.covered_s), sum(h.estimated_s)
    FROM unnest(hours) AS h JOIN meter m ON m.id = h.meter_id
    GROUP BY 1, 2, 3, 4, 5
    HAVING bool_or(h.quantity <> 0 OR h.rows <> 0 OR h.covered_s <> 0 OR h.estimated_s <> 0);
    IF gm.has_timescale() THEN
        RETURN;
    END IF;
    WITH local AS (
        SELECT h.meter_id, h.channel, date_trunc('day', h.start, p.time_zone) AS day, h.project_id, p.time_zone,
               h.reach <= 1 AS in_day, sum(h.quantity) AS quantity, sum(h.rows) AS rows,
               sum(h.covered_s) AS covered_s, sum(h.estimated_s) AS estimated_s
        FROM unnest(hours) AS h JOIN project p ON p.id = h.project_id
        WHERE h.reach <= 2 GROUP BY 1, 2, 3, 4, 5, 6),
    days AS (
        INSERT INTO store.usage_day AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
        SELECT meter_id, channel, day, project_id, quantity, rows, covered_s, estimated_s FROM local
        WHERE in_day AND (quantity <> 0 OR rows <> 0 OR covered_s <> 0 OR estimated_s <> 0)
        ORDER BY 1, 2, 3
        ON CONFLICT (meter_id, channel, start) DO UPDATE
        SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
            covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s)
    INSERT INTO store.usage_month AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
    SELECT meter_id, channel, date_trunc('month', day, time_zone), project_id,
           sum(quantity), sum(rows), sum(covered_s), sum(estimated_s)
    FROM local GROUP BY 1, 2, 3, 4
    HAVING sum(quantity) <> 0 OR sum(rows) <> 0 OR sum(covered_s) <> 0 OR sum(estimated_s) <> 0
    ORDER BY 1, 2, 3
    ON CONFLICT (meter_id, channel, start) DO UPDATE
    SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
        covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s;
END
$$;

-- From where `gm.hour_of` counts hours, once a project; OFFSET 0, or it would be computed for each row after all.
CREATE VIEW gm.origin_of_hours AS
SELECT id AS project_id, time_zone, timestamp '2024-01-01' AT TIME ZONE time_zone AS origin FROM project OFFSET 0;

CREATE OR REPLACE FUNCTION gm.usage_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_sort = off SET work_mem = '64MB' AS
$$
DECLARE
    hours gm.counted_hour[] := ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, u.hour, u.reach, sum(u.quantity), count(*), sum(u.length_s),
                coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM (SELECT u.project_id, u.meter_id, u.channel, h.hour, u.quantity, u.length_s, u.method,
                     -- The case of nearly every row, without looking at local days.
                     CASE WHEN u.start + u.length_s * interval '1 second' <= h.hour + interval '1 hour' THEN 0::smallint
                          ELSE gm.reach(u.start, u.length_s, p.time_zone) END AS reach
              FROM new_rows u JOIN gm.origin_of_hours p ON p.project_id = u.project_id
              CROSS JOIN LATERAL (SELECT date_bin('1 hour', u.start, p.origin) AS hour) AS h) AS u
        GROUP BY u.project_id, u.meter_id, u.channel, u.hour, u.reach);
BEGIN
    PERFORM gm.count_hours(hours);
    IF EXISTS (SELECT FROM unnest(hours) AS h WHERE h.reach > 0) THEN
        INSERT INTO store.crossing_usage (meter_id, channel, start, project_id, length_s, reach, quantity, method)
        SELECT u.meter_id, u.channel, u.start, u.project_id, u.length_s, r.reach, u.quantity, u.method
        FROM new_rows u JOIN project p ON p.id = u.project_id
        CROSS JOIN LATERAL (SELECT gm.reach(u.start, u.length_s, p.time_zone) AS reach) AS r
        WHERE r.reach > 0 AND NOT gm.is_whole_day(u.start, u.length_s, p.time_zone);
    END IF;
    RETURN NULL;
END
$$;
