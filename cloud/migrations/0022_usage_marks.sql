-- What a total of a project is made of: how long its rows are and how long those of an estimated shape. And the rows that
-- no hour holds whole, so that who reads a total knows where it says too little.

ALTER TABLE store.usage_total
    ADD COLUMN top_covered_s   bigint NOT NULL DEFAULT 0,
    ADD COLUMN top_estimated_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN covered_s       bigint NOT NULL DEFAULT 0,
    ADD COLUMN estimated_s     bigint NOT NULL DEFAULT 0;
ALTER TABLE store.usage_total_change
    ADD COLUMN top_covered_s   bigint NOT NULL DEFAULT 0,
    ADD COLUMN top_estimated_s bigint NOT NULL DEFAULT 0,
    ADD COLUMN covered_s       bigint NOT NULL DEFAULT 0,
    ADD COLUMN estimated_s     bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN store.usage_total.covered_s IS 'Lengths of the rows together: of n meters that lack nothing, n times 3600.';
COMMENT ON COLUMN store.usage_total.estimated_s IS 'The part of covered_s with an estimated shape (method 3 to 6).';

-- Copies of the rows that no local hour holds whole: gaps that are too long to be shaped. Whole local days, which daily
-- meters have one of every day, are left out: `usage_total` tells them by their reach. Kept by the triggers below.
CREATE TABLE store.crossing_usage (
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    start      timestamptz NOT NULL,
    project_id bigint NOT NULL,
    length_s   int NOT NULL,
    reach      smallint NOT NULL,
    quantity   bigint NOT NULL,
    method     smallint NOT NULL,
    PRIMARY KEY (meter_id, channel, start)
);
CREATE INDEX crossing_usage_of_project ON store.crossing_usage (project_id, channel, start);
GRANT SELECT, INSERT, UPDATE, DELETE ON store.crossing_usage TO gatemeter_worker;

CREATE FUNCTION gm.is_whole_day(start timestamptz, length_s int, zone text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (start AT TIME ZONE zone)::time = '00:00' AND length_s = gm.length_of('day', start, zone) $$;

CREATE OR REPLACE FUNCTION gm.fold_totals() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH taken AS (DELETE FROM store.usage_total_change RETURNING *),
    added AS (
        SELECT project_id, medium, channel, start, reach, sum(top)::bigint AS top, sum(top_rows)::bigint AS top_rows,
               sum(all_meters)::bigint AS all_meters, sum(rows)::bigint AS rows,
               sum(top_covered_s)::bigint AS top_covered_s, sum(top_estimated_s)::bigint AS top_estimated_s,
               sum(covered_s)::bigint AS covered_s, sum(estimated_s)::bigint AS estimated_s
        FROM taken GROUP BY 1, 2, 3, 4, 5),
    folded AS (
        INSERT INTO store.usage_total AS t SELECT * FROM added ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (project_id, medium, channel, start, reach) DO UPDATE
        SET top = t.top + excluded.top, top_rows = t.top_rows + excluded.top_rows,
            all_meters = t.all_meters + excluded.all_meters, rows = t.rows + excluded.rows,
            top_covered_s = t.top_covered_s + excluded.top_covered_s,
            top_estimated_s = t.top_estimated_s + excluded.top_estimated_s,
            covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s
        RETURNING 1)
    SELECT count(*) FROM folded
$$;

CREATE OR REPLACE FUNCTION gm.count_hours(hours gm.counted_hour[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    step text;
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
    FOREACH step IN ARRAY ARRAY['day', 'month'] LOOP
        EXECUTE format('
            INSERT INTO store.%1$I AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
            SELECT h.meter_id, h.channel, date_trunc(%2$L, h.start, p.time_zone), h.project_id, sum(h.quantity),
                   sum(h.rows), sum(h.covered_s), sum(h.estimated_s)
            FROM unnest($1) AS h JOIN project p ON p.id = h.project_id
            WHERE h.reach <= $2 GROUP BY 1, 2, 3, 4
            HAVING sum(h.quantity) <> 0 OR sum(h.rows) <> 0 OR sum(h.covered_s) <> 0 OR sum(h.estimated_s) <> 0
            ORDER BY 1, 2, 3
            ON CONFLICT (meter_id, channel, start) DO UPDATE
            SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
                covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s',
            'usage_' || step, step) USING hours, CASE step WHEN 'day' THEN 1 ELSE 2 END;
    END LOOP;
END
$$;

-- The statements of derivation touch thousands of rows that hours hold whole: only where one reaches further are the rows
-- looked at again.
CREATE OR REPLACE FUNCTION gm.usage_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    hours gm.counted_hour[] := ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                sum(u.quantity), count(*), sum(u.length_s),
                coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM new_rows u JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone));
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

CREATE OR REPLACE FUNCTION gm.usage_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    hours gm.counted_hour[] := ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                -sum(u.quantity), -count(*), -sum(u.length_s),
                -coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM old_rows u JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone));
BEGIN
    PERFORM gm.count_hours(hours);
    IF EXISTS (SELECT FROM unnest(hours) AS h WHERE h.reach > 0) THEN
        DELETE FROM store.crossing_usage c USING old_rows u
        WHERE c.meter_id = u.meter_id AND c.channel = u.channel AND c.start = u.start;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gm.usage_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    hours gm.counted_hour[] := ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                sum(sign * u.quantity), sum(sign), sum(sign * u.length_s),
                coalesce(sum(sign * u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM (SELECT 1 AS sign, n.* FROM new_rows n UNION ALL SELECT -1, o.* FROM old_rows o) u
        JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone));
BEGIN
    PERFORM gm.count_hours(hours);
    IF EXISTS (SELECT FROM unnest(hours) AS h WHERE h.reach > 0) THEN
        DELETE FROM store.crossing_usage c USING old_rows u
        WHERE c.meter_id = u.meter_id AND c.channel = u.channel AND c.start = u.start;
        INSERT INTO store.crossing_usage (meter_id, channel, start, project_id, length_s, reach, quantity, method)
        SELECT u.meter_id, u.channel, u.start, u.project_id, u.length_s, r.reach, u.quantity, u.method
        FROM new_rows u JOIN project p ON p.id = u.project_id
        CROSS JOIN LATERAL (SELECT gm.reach(u.start, u.length_s, p.time_zone) AS reach) AS r
        WHERE r.reach > 0 AND NOT gm.is_whole_day(u.start, u.length_s, p.time_zone);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gm.usage_row_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    zone text := (SELECT time_zone FROM project WHERE id = OLD.project_id);
BEGIN
    PERFORM gm.count_hours(ARRAY[
        (OLD.project_id, OLD.meter_id, OLD.channel, gm.hour_of(OLD.start, zone), gm.reach(OLD.start, OLD.length_s, zone),
         -OLD.quantity, -1, -OLD.length_s,
         CASE WHEN gm.is_estimated(OLD.method) THEN -OLD.length_s ELSE 0 END)::gm.counted_hour]);
    DELETE FROM store.crossing_usage WHERE meter_id = OLD.meter_id AND channel = OLD.channel AND start = OLD.start;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION gm.meter_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock((x'676D04'::bigint << 40) + NEW.id);
    INSERT INTO store.usage_total_change
    SELECT u.project_id, side.medium, u.channel, u.hour, u.reach,
           side.sign * side.top * u.quantity, side.sign * side.top * u.rows, side.sign * u.quantity, side.sign * u.rows,
           side.sign * side.top * u.covered_s, side.sign * side.top * u.estimated_s,
           side.sign * u.covered_s, side.sign * u.estimated_s
    FROM (SELECT u.project_id, u.channel, gm.hour_of(u.start, p.time_zone) AS hour,
                 gm.reach(u.start, u.length_s, p.time_zone) AS reach, sum(u.quantity) AS quantity, count(*) AS rows,
                 sum(u.length_s) AS covered_s,
                 coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0) AS estimated_s
          FROM store.usage u JOIN project p ON p.id = u.project_id
          WHERE u.meter_id = NEW.id GROUP BY 1, 2, 3, 4) AS u
    CROSS JOIN (VALUES (-1, OLD.medium, (OLD.parent_id IS NULL)::int), (1, NEW.medium, (NEW.parent_id IS NULL)::int))
         AS side (sign, medium, top);
    RETURN NULL;
END
$$;

-- Which rows cross hours, counted again from the rows: of one project when its time zone changes, of all when this is new.
CREATE PROCEDURE gm.find_crossing_usage(only_project bigint DEFAULT NULL)
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    DELETE FROM store.crossing_usage WHERE only_project IS NULL OR project_id = only_project;
    INSERT INTO store.crossing_usage (meter_id, channel, start, project_id, length_s, reach, quantity, method)
    SELECT u.meter_id, u.channel, u.start, u.project_id, u.length_s, r.reach, u.quantity, u.method
    FROM store.usage u JOIN project p ON p.id = u.project_id
    CROSS JOIN LATERAL (SELECT gm.reach(u.start, u.length_s, p.time_zone) AS reach) AS r
    WHERE (only_project IS NULL OR u.project_id = only_project)
      AND r.reach > 0 AND NOT gm.is_whole_day(u.start, u.length_s, p.time_zone);
$$;
REVOKE EXECUTE ON PROCEDURE gm.find_crossing_usage(bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION gm.project_zone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.ensure_zone(NEW.time_zone);
    IF TG_OP = 'UPDATE' THEN
        CALL gm.count_again(NEW.id);
        CALL gm.find_crossing_usage(NEW.id);
    END IF;
    RETURN NULL;
END
$$;

-- What is there already. Totals of hours whose rows are archived stay, with nothing said of what covers them.
LOCK TABLE store.usage IN SHARE MODE;
SELECT gm.fold_totals();
UPDATE store.usage_total t
SET top_covered_s = c.top_covered_s, top_estimated_s = c.top_estimated_s, covered_s = c.covered_s, estimated_s = c.estimated_s
FROM (SELECT u.project_id, m.medium, u.channel, gm.hour_of(u.start, p.time_zone) AS start,
             gm.reach(u.start, u.length_s, p.time_zone) AS reach,
             coalesce(sum(u.length_s) FILTER (WHERE m.parent_id IS NULL), 0) AS top_covered_s,
             coalesce(sum(u.length_s) FILTER (WHERE m.parent_id IS NULL AND gm.is_estimated(u.method)), 0) AS top_estimated_s,
             sum(u.length_s) AS covered_s,
             coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0) AS estimated_s
      FROM store.usage u JOIN meter m ON m.id = u.meter_id JOIN project p ON p.id = u.project_id
      GROUP BY 1, 2, 3, 4, 5) AS c
WHERE (t.project_id, t.medium, t.channel, t.start, t.reach) = (c.project_id, c.medium, c.channel, c.start, c.reach);
CALL gm.find_crossing_usage();

-- Of staff alone, as before.
CREATE OR REPLACE VIEW usage_total WITH (security_barrier) AS
SELECT t.project_id, t.medium, t.channel, t.start, t.reach,
       CASE WHEN sum(t.top_rows) > 0 THEN sum(t.top)::bigint END AS top, sum(t.all_meters)::bigint AS all_meters,
       sum(t.rows)::bigint AS rows, sum(t.top_rows)::bigint AS top_rows, sum(t.top_covered_s)::bigint AS top_covered_s,
       sum(t.top_estimated_s)::bigint AS top_estimated_s, sum(t.covered_s)::bigint AS covered_s,
       sum(t.estimated_s)::bigint AS estimated_s
FROM (SELECT * FROM store.usage_total UNION ALL SELECT * FROM store.usage_total_change) AS t
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND t.project_id = ANY ((SELECT gm.projects())::bigint[]))
GROUP BY t.project_id, t.medium, t.channel, t.start, t.reach
HAVING sum(t.rows) > 0;

CREATE VIEW crossing_usage WITH (security_barrier) AS
SELECT c.* FROM store.crossing_usage c
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND c.project_id = ANY ((SELECT gm.projects())::bigint[]));
GRANT SELECT ON crossing_usage TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- From where on days and months may lag behind the rows: NULL: nowhere. Only TimescaleDB's ever do, from the transaction
-- that changed a row (`store.changed_usage`) until the job has refreshed the aggregates (`store.stale_roll_up`).
CREATE FUNCTION gm.roll_ups_lag_from() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT CASE WHEN gm.has_timescale() THEN
        (SELECT least((SELECT min(from_at) FROM store.stale_roll_up), (SELECT min(from_at) FROM store.changed_usage))) END
$$;
