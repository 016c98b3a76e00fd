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
