-- Where clocks go back over midnight a day begins twice. PostgreSQL takes its second beginning for midnight, and a day that
-- is proved up to there, or from there, took the hour between both from one side and not from the other.

CREATE FUNCTION gm.day_begins(day date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT ((day::timestamp - interval '1 microsecond') AT TIME ZONE zone AT TIME ZONE 'UTC' + interval '1 microsecond')
           AT TIME ZONE 'UTC'
$$;
COMMENT ON FUNCTION gm.day_begins(date, text) IS 'The first instant of a local day: where the day before ends.';

CREATE OR REPLACE FUNCTION gm.mend_counts(of_project bigint, from_on date, until_on date) RETURNS bigint
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

-- A meter that cannot be derived or settled is tried alone and ever more rarely, and not with others every minute.
CREATE TABLE store.set_aside (
    work       text NOT NULL CHECK (work IN ('derive', 'settle')),
    meter_id   bigint NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    attempts   int NOT NULL DEFAULT 1,
    next_at    timestamptz NOT NULL,
    reason     text NOT NULL,
    PRIMARY KEY (work, meter_id)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON store.set_aside TO gatemeter_worker;
COMMENT ON TABLE store.set_aside IS 'Meters whose derivation or settling raised when it was last tried, and when it is tried again.';

CREATE FUNCTION gm.meters_set_aside(OUT meters bigint, OUT age_s bigint, OUT example text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT count(DISTINCT s.meter_id), extract(epoch FROM now() - min(s.since))::bigint,
           (array_agg(p.code || '/' || m.code || ': ' || s.reason ORDER BY s.since, s.meter_id))[1]
    FROM store.set_aside s JOIN meter m ON m.id = s.meter_id JOIN project p ON p.id = m.project_id
$$;
REVOKE EXECUTE ON FUNCTION gm.meters_set_aside() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.meters_set_aside() TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
