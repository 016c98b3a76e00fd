-- Usage is added by the derivation alone, and it counts what it adds. A trigger that counts made the rows of a COPY go into
-- the partitions one by one, whether it counted or not: a trigger on added rows wants them kept aside. What is changed and
-- removed is counted by triggers as before. That nothing was forgotten is proved every night.

DROP TRIGGER count_added ON store.usage;
DROP FUNCTION gm.usage_added();

-- Used again by the upgrade to TimescaleDB.
CREATE OR REPLACE PROCEDURE gm.watch_usage() LANGUAGE plpgsql AS
$$
BEGIN
    CREATE TRIGGER count_changed AFTER UPDATE ON store.usage REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
        FOR EACH STATEMENT EXECUTE FUNCTION gm.usage_changed();
    IF gm.has_timescale() THEN
        CREATE TRIGGER count_removed AFTER DELETE ON store.usage FOR EACH ROW EXECUTE FUNCTION gm.usage_row_removed();
    ELSE
        CREATE TRIGGER count_removed AFTER DELETE ON store.usage REFERENCING OLD TABLE AS old_rows
            FOR EACH STATEMENT EXECUTE FUNCTION gm.usage_removed();
    END IF;
END
$$;

CREATE FUNCTION gm.add_rows(meters bigint[], channels smallint[], starts timestamptz[], projects bigint[], lengths_s bigint[],
                            quantities bigint[], methods smallint[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.count_hours(ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone),
                gm.reach(u.start, u.length_s::int, p.time_zone), sum(u.quantity), count(*), sum(u.length_s),
                coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM unnest(meters, channels, starts, projects, lengths_s, quantities, methods)
             AS u (meter_id, channel, start, project_id, length_s, quantity, method)
        JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone),
                 gm.reach(u.start, u.length_s::int, p.time_zone)));
    INSERT INTO store.crossing_usage (meter_id, channel, start, project_id, length_s, reach, quantity, method)
    SELECT u.meter_id, u.channel, u.start, u.project_id, u.length_s, r.reach, u.quantity, u.method
    FROM unnest(meters, channels, starts, projects, lengths_s, quantities, methods)
         AS u (meter_id, channel, start, project_id, length_s, quantity, method)
    JOIN project p ON p.id = u.project_id
    CROSS JOIN LATERAL (SELECT gm.reach(u.start, u.length_s::int, p.time_zone) AS reach) AS r
    WHERE r.reach > 0 AND NOT gm.is_whole_day(u.start, u.length_s::int, p.time_zone);
END
$$;
COMMENT ON FUNCTION gm.add_rows(bigint[], smallint[], timestamptz[], bigint[], bigint[], bigint[], smallint[]) IS 'Counts rows of any length; those that hours hold whole are counted more cheaply by add_hours and add_days.';

-- The proof. What rows of a project come to that begin in [low, high), hours of its zone, by meter, hour and reach.
CREATE FUNCTION gm.hours_of_rows(of_project bigint, zone text, low timestamptz, high timestamptz)
RETURNS SETOF gm.counted_hour LANGUAGE sql STABLE AS
$$
    SELECT u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, zone), gm.reach(u.start, u.length_s, zone),
           sum(u.quantity)::bigint, count(*), sum(u.length_s)::bigint,
           coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0)::bigint
    FROM store.usage u
    WHERE u.project_id = of_project AND u.start >= low AND u.start < high + interval '1 hour'
      AND gm.hour_of(u.start, zone) >= low AND gm.hour_of(u.start, zone) < high
    GROUP BY 1, 2, 3, 4, 5
$$;

CREATE FUNCTION gm.rows_that_cross(of_project bigint, zone text, low timestamptz, high timestamptz)
RETURNS SETOF store.crossing_usage LANGUAGE sql STABLE AS
$$
    SELECT u.meter_id, u.channel, u.start, u.project_id, u.length_s, gm.reach(u.start, u.length_s, zone), u.quantity, u.method
    FROM store.usage u
    WHERE u.project_id = of_project AND u.start >= low AND u.start < high AND gm.reach(u.start, u.length_s, zone) > 0
      AND NOT gm.is_whole_day(u.start, u.length_s, zone)
$$;

-- Whoever writes rows counts them in the same transaction, so that a statement sees rows and counts of one instant. It adds
-- the difference, as writers do: nobody waits for it, and nothing counted meanwhile is lost.
CREATE FUNCTION gm.mend_totals(of_project bigint, zone text, low timestamptz, high timestamptz) RETURNS bigint
LANGUAGE plpgsql AS
$$
DECLARE
    wrong bigint;
BEGIN
    INSERT INTO store.usage_total_change (project_id, medium, channel, start, reach, top, top_rows, all_meters, rows,
                                          top_covered_s, top_estimated_s, covered_s, estimated_s)
    SELECT of_project, c.medium, c.channel, c.start, c.reach, sum(c.top), sum(c.top_rows), sum(c.all_meters), sum(c.rows),
           sum(c.top_covered_s), sum(c.top_estimated_s), sum(c.covered_s), sum(c.estimated_s)
    FROM (
        SELECT m.medium, h.channel, h.start, h.reach, m.top * h.quantity AS top, m.top * h.rows AS top_rows,
               h.quantity AS all_meters, h.rows, m.top * h.covered_s AS top_covered_s,
               m.top * h.estimated_s AS top_estimated_s, h.covered_s, h.estimated_s
        FROM gm.hours_of_rows(of_project, zone, low, high) h
        JOIN (SELECT id, medium, (parent_id IS NULL)::int AS top FROM meter) AS m ON m.id = h.meter_id
        UNION ALL
        SELECT t.medium, t.channel, t.start, t.reach, -t.top, -t.top_rows, -t.all_meters, -t.rows,
               -t.top_covered_s, -t.top_estimated_s, -t.covered_s, -t.estimated_s
        FROM (SELECT * FROM store.usage_total UNION ALL SELECT * FROM store.usage_total_change) AS t
        WHERE t.project_id = of_project AND t.start >= low AND t.start < high) AS c
    GROUP BY c.medium, c.channel, c.start, c.reach
    HAVING (sum(c.top), sum(c.top_rows), sum(c.all_meters), sum(c.rows), sum(c.top_covered_s), sum(c.top_estimated_s),
            sum(c.covered_s), sum(c.estimated_s)) IS DISTINCT FROM (0, 0, 0, 0, 0, 0, 0, 0);
    GET DIAGNOSTICS wrong = ROW_COUNT;
    RETURN wrong;
END
$$;

-- The next two are of plain PostgreSQL.
CREATE FUNCTION gm.mend_days(of_project bigint, zone text, low timestamptz, high timestamptz) RETURNS bigint
LANGUAGE plpgsql AS
$$
DECLARE
    wrong bigint;
BEGIN
    INSERT INTO store.usage_day AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
    SELECT c.meter_id, c.channel, c.start, of_project, sum(c.quantity), sum(c.rows), sum(c.covered_s), sum(c.estimated_s)
    FROM (
        SELECT h.meter_id, h.channel, date_trunc('day', h.start, zone) AS start, h.quantity, h.rows, h.covered_s, h.estimated_s
        FROM gm.hours_of_rows(of_project, zone, low, high) h WHERE h.reach <= 1
        UNION ALL
        SELECT d.meter_id, d.channel, d.start, -d.quantity, -d.rows, -d.covered_s, -d.estimated_s
        FROM store.usage_day d WHERE d.project_id = of_project AND d.start >= low AND d.start < high) AS c
    GROUP BY c.meter_id, c.channel, c.start
    HAVING (sum(c.quantity), sum(c.rows), sum(c.covered_s), sum(c.estimated_s)) IS DISTINCT FROM (0, 0, 0, 0)
    ORDER BY 1, 2, 3
    ON CONFLICT (meter_id, channel, start) DO UPDATE
    SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
        covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s;
    GET DIAGNOSTICS wrong = ROW_COUNT;
    RETURN wrong;
END
$$;

-- A month is its days and the rows that it holds and none of its days: proved without adding up all its rows.
CREATE FUNCTION gm.mend_months(of_project bigint, zone text, low timestamptz, high timestamptz) RETURNS bigint
LANGUAGE plpgsql AS
$$
DECLARE
    wrong bigint;
BEGIN
    INSERT INTO store.usage_month AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
    SELECT c.meter_id, c.channel, c.start, of_project, sum(c.quantity), sum(c.rows), sum(c.covered_s), sum(c.estimated_s)
    FROM (
        SELECT d.meter_id, d.channel, date_trunc('month', d.start, zone) AS start, d.quantity, d.rows, d.covered_s, d.estimated_s
        FROM store.usage_day d WHERE d.project_id = of_project AND d.start >= low AND d.start < high
        UNION ALL
        SELECT u.meter_id, u.channel, date_trunc('month', gm.hour_of(u.start, zone), zone), u.quantity, 1, u.length_s,
               CASE WHEN gm.is_estimated(u.method) THEN u.length_s ELSE 0 END
        FROM store.crossing_usage u
        WHERE u.project_id = of_project AND u.reach = 2 AND gm.hour_of(u.start, zone) >= low AND gm.hour_of(u.start, zone) < high
        UNION ALL
        SELECT m.meter_id, m.channel, m.start, -m.quantity, -m.rows, -m.covered_s, -m.estimated_s
        FROM store.usage_month m WHERE m.project_id = of_project AND m.start >= low AND m.start < high) AS c
    GROUP BY c.meter_id, c.channel, c.start
    HAVING (sum(c.quantity), sum(c.rows), sum(c.covered_s), sum(c.estimated_s)) IS DISTINCT FROM (0, 0, 0, 0)
    ORDER BY 1, 2, 3
    ON CONFLICT (meter_id, channel, start) DO UPDATE
    SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
        covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s;
    GET DIAGNOSTICS wrong = ROW_COUNT;
    RETURN wrong;
END
$$;

-- A row cannot be mended by a difference. Writers wait, but only where something is wrong.
CREATE FUNCTION gm.mend_crossing(of_project bigint, zone text, low timestamptz, high timestamptz) RETURNS bigint
LANGUAGE plpgsql AS
$$
DECLARE
    wrong bigint;
BEGIN
    WITH kept AS (
        SELECT * FROM store.crossing_usage WHERE project_id = of_project AND start >= low AND start < high),
    crossing AS (SELECT * FROM gm.rows_that_cross(of_project, zone, low, high))
    SELECT count(*) INTO wrong
    FROM ((TABLE crossing EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE crossing)) AS differing;
    IF wrong = 0 THEN
        RETURN 0;
    END IF;
    LOCK TABLE store.usage IN SHARE MODE;
    DELETE FROM store.crossing_usage WHERE project_id = of_project AND start >= low AND start < high;
    INSERT INTO store.crossing_usage SELECT * FROM gm.rows_that_cross(of_project, zone, low, high);
    RETURN wrong;
END
$$;

-- Where clocks go back over midnight a day begins twice. PostgreSQL takes its second beginning for midnight: proved up to
-- there, or from there, the hour between both would be taken from one side and not from the other.
CREATE FUNCTION gm.day_begins(day date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT ((day::timestamp - interval '1 microsecond') AT TIME ZONE zone AT TIME ZONE 'UTC' + interval '1 microsecond')
           AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION gm.day_begins(date, text) IS 'The first instant of a local day: where the day before ends.';

CREATE FUNCTION gm.mend_counts(of_project bigint, from_on date, until_on date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    zone text;
    low timestamptz;
    high timestamptz;
    wrong bigint;
BEGIN
    -- One at a time: two would add the same difference. Nor beside who counts a project anew, which takes `SHARE`.
    PERFORM pg_advisory_xact_lock(x'676D0E'::bigint);
    LOCK TABLE store.usage IN ROW EXCLUSIVE MODE;
    SELECT time_zone INTO STRICT zone FROM project WHERE id = of_project;
    -- Counts of what is archived stay without their rows.
    from_on := greatest(from_on, (gm.usage_kept_from() AT TIME ZONE zone)::date + 1);
    IF from_on >= until_on THEN
        RETURN 0;
    END IF;
    low := gm.day_begins(from_on, zone);
    high := gm.day_begins(until_on, zone);
    wrong := gm.mend_crossing(of_project, zone, low, high) + gm.mend_totals(of_project, zone, low, high);
    IF NOT gm.has_timescale() THEN
        wrong := wrong + gm.mend_days(of_project, zone, low, high)
                 + gm.mend_months(of_project, zone, gm.day_begins(date_trunc('month', from_on)::date, zone),
                                  gm.day_begins((date_trunc('month', until_on - 1) + interval '1 month')::date, zone));
    END IF;
    RETURN wrong;
END
$$;
COMMENT ON FUNCTION gm.mend_counts(bigint, date, date) IS 'Compares the counts of local days of a project with its rows, mends them and says how many were wrong.';

-- How far that was done. The first time everything is compared: what was counted while a worker of the version before ran
-- beside this schema too.
CREATE TABLE store.counts_proved (
    project_id bigint PRIMARY KEY,
    until_on   date NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON store.counts_proved TO gatemeter_worker;

REVOKE EXECUTE ON FUNCTION gm.add_rows(bigint[], smallint[], timestamptz[], bigint[], bigint[], bigint[], smallint[]),
    gm.hours_of_rows(bigint, text, timestamptz, timestamptz), gm.rows_that_cross(bigint, text, timestamptz, timestamptz),
    gm.mend_totals(bigint, text, timestamptz, timestamptz), gm.mend_days(bigint, text, timestamptz, timestamptz),
    gm.mend_months(bigint, text, timestamptz, timestamptz), gm.mend_crossing(bigint, text, timestamptz, timestamptz),
    gm.mend_counts(bigint, date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.add_rows(bigint[], smallint[], timestamptz[], bigint[], bigint[], bigint[], smallint[]),
    gm.mend_counts(bigint, date, date) TO gatemeter_worker;
