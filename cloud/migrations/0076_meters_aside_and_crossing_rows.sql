-- Staff see which of their meters cannot be worked on, and have one tried again before its time.
CREATE VIEW meter_set_aside WITH (security_barrier) AS
SELECT s.work, s.meter_id, s.since, s.attempts, s.next_at, s.reason FROM store.set_aside s
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND EXISTS (
       SELECT FROM meter m WHERE m.id = s.meter_id AND m.project_id = ANY ((SELECT gm.projects())::bigint[])));
GRANT SELECT, UPDATE (next_at) ON meter_set_aside TO gatemeter_web, gatemeter_worker;
COMMENT ON VIEW meter_set_aside IS 'Meters whose derivation or settling raised when it was last tried; of staff, those of their projects.';

-- Rows that cross an edge cannot be mended by a difference, as counts are. Whoever writes rows of a meter holds that meter
-- (cloud/metering/derivation/update.py), so who mends them holds it too: the writers of other meters go on meanwhile.
DROP FUNCTION gm.mend_crossing(bigint, text, timestamptz, timestamptz);

CREATE FUNCTION gm.proved_span(of_project bigint, from_on date, until_on date,
                               OUT zone text, OUT low timestamptz, OUT high timestamptz)
LANGUAGE plpgsql STABLE AS
$$
BEGIN
    SELECT time_zone INTO STRICT zone FROM project WHERE id = of_project;
    -- Counts of what is archived stay without their rows.
    low := gm.day_begins(greatest(from_on, (gm.usage_kept_from() AT TIME ZONE zone)::date + 1), zone);
    high := gm.day_begins(until_on, zone);
END
$$;
COMMENT ON FUNCTION gm.proved_span(bigint, date, date) IS 'The instants between which counts of these local days can be compared with rows; low >= high: none.';

CREATE FUNCTION gm.miscounted_crossing(of_project bigint, from_on date, until_on date) RETURNS bigint[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    span record;
BEGIN
    span := gm.proved_span(of_project, from_on, until_on);
    RETURN ARRAY(
        WITH kept AS (
            SELECT * FROM store.crossing_usage
            WHERE project_id = of_project AND start >= span.low AND start < span.high),
        crossing AS (SELECT * FROM gm.rows_that_cross(of_project, span.zone, span.low, span.high))
        SELECT DISTINCT meter_id
        FROM ((TABLE crossing EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE crossing)) AS differing
        ORDER BY meter_id);
END
$$;
COMMENT ON FUNCTION gm.miscounted_crossing(bigint, date, date) IS 'Meters of whose rows in these local days crossing_usage is not what it should be.';

CREATE FUNCTION gm.mend_crossing(of_project bigint, from_on date, until_on date, meters bigint[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    span record;
    wrong bigint;
BEGIN
    -- Not beside who counts a project anew, which takes `SHARE`.
    LOCK TABLE store.usage IN ROW EXCLUSIVE MODE;
    span := gm.proved_span(of_project, from_on, until_on);
    WITH kept AS (
        SELECT * FROM store.crossing_usage
        WHERE project_id = of_project AND meter_id = ANY (meters) AND start >= span.low AND start < span.high),
    crossing AS (
        SELECT * FROM gm.rows_that_cross(of_project, span.zone, span.low, span.high) WHERE meter_id = ANY (meters))
    SELECT count(*) INTO wrong
    FROM ((TABLE crossing EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE crossing)) AS differing;
    IF wrong > 0 THEN
        DELETE FROM store.crossing_usage
        WHERE project_id = of_project AND meter_id = ANY (meters) AND start >= span.low AND start < span.high;
        INSERT INTO store.crossing_usage
        SELECT * FROM gm.rows_that_cross(of_project, span.zone, span.low, span.high) WHERE meter_id = ANY (meters);
    END IF;
    RETURN wrong;
END
$$;
COMMENT ON FUNCTION gm.mend_crossing(bigint, date, date, bigint[]) IS 'Mends crossing_usage of these meters, which the caller holds as who writes their usage does, and says how many rows were wrong.';

CREATE OR REPLACE FUNCTION gm.mend_counts(of_project bigint, from_on date, until_on date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    span record;
    wrong bigint;
BEGIN
    -- One at a time: two would add the same difference. Nor beside who counts a project anew, which takes `SHARE`.
    PERFORM pg_advisory_xact_lock(x'676D0E'::bigint);
    LOCK TABLE store.usage IN ROW EXCLUSIVE MODE;
    span := gm.proved_span(of_project, from_on, until_on);
    IF span.low >= span.high THEN
        RETURN 0;
    END IF;
    wrong := gm.mend_totals(of_project, span.zone, span.low, span.high);
    IF NOT gm.has_timescale() THEN
        from_on := (span.low AT TIME ZONE span.zone)::date;
        wrong := wrong + gm.mend_days(of_project, span.zone, span.low, span.high)
                 + gm.mend_months(of_project, span.zone, gm.day_begins(date_trunc('month', from_on)::date, span.zone),
                                  gm.day_begins((date_trunc('month', until_on - 1) + interval '1 month')::date, span.zone));
    END IF;
    RETURN wrong;
END
$$;
COMMENT ON FUNCTION gm.mend_counts(bigint, date, date) IS 'Compares the counts of local days of a project with its rows, mends them and says how many were wrong; months count on crossing_usage being right.';

REVOKE EXECUTE ON FUNCTION gm.proved_span(bigint, date, date), gm.miscounted_crossing(bigint, date, date),
    gm.mend_crossing(bigint, date, date, bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.miscounted_crossing(bigint, date, date), gm.mend_crossing(bigint, date, date, bigint[])
    TO gatemeter_worker;
