-- Usage by hour, day and month, totals of projects, and what the two engines do with old data.
--
-- Project totals are counted from every change of a usage row, in its transaction. So are days and months on plain
-- PostgreSQL. With TimescaleDB days and months are continuous aggregates over hours, made for each time zone in use.

-- The hour, day or month that holds a row whole. A local hour begins where the derivation's does (`grid_offset_ms`).
CREATE FUNCTION gm.hour_origin(zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT timestamp '2024-01-01' AT TIME ZONE zone $$;

CREATE FUNCTION gm.hour_of(start timestamptz, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT date_bin('1 hour', start, timestamp '2024-01-01' AT TIME ZONE zone) $$;

-- The last instant of a row in local time. Through UTC, because adding an interval to a timestamptz is not immutable.
CREATE FUNCTION gm.last_local(start timestamptz, length_s int, zone text) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT ((start AT TIME ZONE 'UTC' + length_s * interval '1 second' - interval '1 microsecond') AT TIME ZONE 'UTC')
          AT TIME ZONE zone $$;

CREATE FUNCTION gm.reach(start timestamptz, length_s int, zone text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT CASE
        WHEN length_s * interval '1 second'
             <= interval '1 hour' - (start - date_bin('1 hour', start, timestamp '2024-01-01' AT TIME ZONE zone)) THEN 0
        WHEN date_trunc('day', start AT TIME ZONE zone) = date_trunc('day', gm.last_local(start, length_s, zone)) THEN 1
        WHEN date_trunc('month', start AT TIME ZONE zone) = date_trunc('month', gm.last_local(start, length_s, zone)) THEN 2
        ELSE 3 END::smallint
$$;
COMMENT ON FUNCTION gm.reach(timestamptz, int, text) IS 'What holds a row whole: 0 its local hour, 1 its day, 2 its month, 3 none of them.';

CREATE FUNCTION gm.is_estimated(method smallint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT method BETWEEN 3 AND 6 $$;

-- How long a local day or month is.
CREATE FUNCTION gm.length_of(step text, start timestamptz, zone text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT extract(epoch FROM (date_trunc(step, start AT TIME ZONE zone) + ('1 ' || step)::interval) AT TIME ZONE zone - start)::int $$;

-- Totals of a project by local hour. Writers only add changes, so that none waits for another; the job
-- `metering.refresh-roll-ups` folds them into one row each. The view below adds both, and so is always right.
CREATE TABLE store.usage_total (
    project_id bigint NOT NULL,
    medium     text NOT NULL,
    channel    smallint NOT NULL,
    start      timestamptz NOT NULL,
    reach      smallint NOT NULL,
    top        bigint NOT NULL,
    top_rows   bigint NOT NULL,
    all_meters bigint NOT NULL,
    rows       bigint NOT NULL,
    PRIMARY KEY (project_id, medium, channel, start, reach)
) WITH (fillfactor = 70);
COMMENT ON COLUMN store.usage_total.start IS 'Local hour in which the rows begin; those of reach 0 lie inside it.';
COMMENT ON COLUMN store.usage_total.top IS 'Of meters without a master above them.';
CREATE TABLE store.usage_total_change (LIKE store.usage_total);
GRANT SELECT, INSERT, UPDATE, DELETE ON store.usage_total, store.usage_total_change TO gatemeter_worker;

CREATE FUNCTION gm.fold_totals() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH taken AS (DELETE FROM store.usage_total_change RETURNING *),
    added AS (
        SELECT project_id, medium, channel, start, reach, sum(top)::bigint AS top, sum(top_rows)::bigint AS top_rows,
               sum(all_meters)::bigint AS all_meters, sum(rows)::bigint AS rows
        FROM taken GROUP BY 1, 2, 3, 4, 5),
    folded AS (
        INSERT INTO store.usage_total AS t SELECT * FROM added ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (project_id, medium, channel, start, reach) DO UPDATE
        SET top = t.top + excluded.top, top_rows = t.top_rows + excluded.top_rows,
            all_meters = t.all_meters + excluded.all_meters, rows = t.rows + excluded.rows
        RETURNING 1)
    SELECT count(*) FROM folded
$$;

-- Days and months of plain PostgreSQL; with TimescaleDB views of the same names over continuous aggregates.
CREATE PROCEDURE gm.make_roll_up_tables() LANGUAGE plpgsql AS
$$
DECLARE
    step text;
BEGIN
    FOREACH step IN ARRAY ARRAY['day', 'month'] LOOP
        EXECUTE format('CREATE TABLE store.%I (
            meter_id    bigint NOT NULL,
            channel     smallint NOT NULL,
            start       timestamptz NOT NULL,
            project_id  bigint NOT NULL,
            quantity    bigint NOT NULL,
            rows        bigint NOT NULL,
            covered_s   bigint NOT NULL,
            estimated_s bigint NOT NULL,
            PRIMARY KEY (meter_id, channel, start)) WITH (fillfactor = 80)', 'usage_' || step);
        EXECUTE format('GRANT SELECT ON store.%I TO gatemeter_ingest, gatemeter_worker', 'usage_' || step);
    END LOOP;
    -- An index hands out the few rows of a meter; of the hours of all meters there is `usage_total`.
    CREATE VIEW store.usage_hour AS
    SELECT u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone) AS start, u.project_id,
           sum(u.quantity)::bigint AS quantity, count(*) AS rows, sum(u.length_s)::bigint AS covered_s,
           coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0)::bigint AS estimated_s
    FROM store.usage u JOIN project p ON p.id = u.project_id
    WHERE gm.reach(u.start, u.length_s, p.time_zone) = 0
    GROUP BY 1, 2, 3, 4;
    GRANT SELECT ON store.usage_hour TO gatemeter_ingest, gatemeter_worker;
END
$$;

-- Adds rows of usage (a temporary table or transition table `changed`) to what is counted; `factor` -1 takes them away.
-- An aggregate by hour first: what is costly, local days, is computed once an hour.
CREATE TYPE gm.counted_hour AS (
    project_id bigint, meter_id bigint, channel smallint, start timestamptz, reach smallint,
    quantity bigint, rows bigint, covered_s bigint, estimated_s bigint);

CREATE FUNCTION gm.count_hours(hours gm.counted_hour[]) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    step text;
BEGIN
    INSERT INTO store.usage_total_change
    SELECT h.project_id, m.medium, h.channel, h.start, h.reach,
           coalesce(sum(h.quantity) FILTER (WHERE m.parent_id IS NULL), 0),
           coalesce(sum(h.rows) FILTER (WHERE m.parent_id IS NULL), 0), sum(h.quantity), sum(h.rows)
    FROM unnest(hours) AS h JOIN meter m ON m.id = h.meter_id
    GROUP BY 1, 2, 3, 4, 5
    HAVING bool_or(h.quantity <> 0 OR h.rows <> 0);
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

CREATE FUNCTION gm.usage_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.count_hours(ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                sum(u.quantity), count(*), sum(u.length_s),
                coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM new_rows u JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone)));
    RETURN NULL;
END
$$;

CREATE FUNCTION gm.usage_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.count_hours(ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                -sum(u.quantity), -count(*), -sum(u.length_s),
                -coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM old_rows u JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone)));
    RETURN NULL;
END
$$;

CREATE FUNCTION gm.usage_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.count_hours(ARRAY(
        SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone),
                sum(sign * u.quantity), sum(sign), sum(sign * u.length_s),
                coalesce(sum(sign * u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
        FROM (SELECT 1 AS sign, n.* FROM new_rows n UNION ALL SELECT -1, o.* FROM old_rows o) u
        JOIN project p ON p.id = u.project_id
        GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone), gm.reach(u.start, u.length_s, p.time_zone)));
    RETURN NULL;
END
$$;

-- TimescaleDB has no transition tables for what is deleted; there, a row at a time. Few rows ever are.
CREATE FUNCTION gm.usage_row_removed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    zone text := (SELECT time_zone FROM project WHERE id = OLD.project_id);
BEGIN
    PERFORM gm.count_hours(ARRAY[
        (OLD.project_id, OLD.meter_id, OLD.channel, gm.hour_of(OLD.start, zone), gm.reach(OLD.start, OLD.length_s, zone),
         -OLD.quantity, -1, -OLD.length_s,
         CASE WHEN gm.is_estimated(OLD.method) THEN -OLD.length_s ELSE 0 END)::gm.counted_hour]);
    RETURN NULL;
END
$$;

CREATE PROCEDURE gm.watch_usage() LANGUAGE plpgsql AS
$$
BEGIN
    CREATE TRIGGER count_added AFTER INSERT ON store.usage REFERENCING NEW TABLE AS new_rows
        FOR EACH STATEMENT EXECUTE FUNCTION gm.usage_added();
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

-- A meter that gets a master, or another one: its usage moves between `top` and the rest. The lock is the one under
-- which its usage is derived, so that no row is counted by what the meter was before.
CREATE FUNCTION gm.meter_moved() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock((x'676D04'::bigint << 40) + NEW.id);
    INSERT INTO store.usage_total_change
    SELECT u.project_id, side.medium, u.channel, gm.hour_of(u.start, p.time_zone),
           gm.reach(u.start, u.length_s, p.time_zone),
           side.sign * side.top * sum(u.quantity), side.sign * side.top * count(*), side.sign * sum(u.quantity),
           side.sign * count(*)
    FROM store.usage u JOIN project p ON p.id = u.project_id
    CROSS JOIN (VALUES (-1, OLD.medium, (OLD.parent_id IS NULL)::int), (1, NEW.medium, (NEW.parent_id IS NULL)::int))
         AS side (sign, medium, top)
    WHERE u.meter_id = NEW.id
    GROUP BY u.project_id, side.sign, side.medium, side.top, u.channel, 4, 5;
    RETURN NULL;
END
$$;
CREATE TRIGGER totals_follow AFTER UPDATE OF parent_id, medium ON meter FOR EACH ROW
    WHEN ((OLD.parent_id IS NULL) <> (NEW.parent_id IS NULL) OR OLD.medium <> NEW.medium)
    EXECUTE FUNCTION gm.meter_moved();

-- Counts everything again: of one project when its time zone changes, of all when this is new.
CREATE PROCEDURE gm.count_again(only_project bigint DEFAULT NULL)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    LOCK TABLE store.usage IN SHARE MODE;
    DELETE FROM store.usage_total WHERE only_project IS NULL OR project_id = only_project;
    DELETE FROM store.usage_total_change WHERE only_project IS NULL OR project_id = only_project;
    IF NOT gm.has_timescale() THEN
        DELETE FROM store.usage_day WHERE only_project IS NULL OR project_id = only_project;
        DELETE FROM store.usage_month WHERE only_project IS NULL OR project_id = only_project;
    END IF;
    DECLARE
        one record;
    BEGIN
        FOR one IN SELECT id FROM meter WHERE only_project IS NULL OR project_id = only_project ORDER BY id LOOP
            PERFORM gm.count_hours(ARRAY(
                SELECT (u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone),
                        gm.reach(u.start, u.length_s, p.time_zone), sum(u.quantity), count(*), sum(u.length_s),
                        coalesce(sum(u.length_s) FILTER (WHERE gm.is_estimated(u.method)), 0))::gm.counted_hour
                FROM store.usage u JOIN project p ON p.id = u.project_id
                WHERE u.meter_id = one.id
                GROUP BY u.project_id, u.meter_id, u.channel, gm.hour_of(u.start, p.time_zone),
                         gm.reach(u.start, u.length_s, p.time_zone)));
        END LOOP;
    END;
END
$$;

-- TimescaleDB: one set of continuous aggregates for each time zone in use, because a bucket needs a constant zone. Each
-- holds all projects; the views choose those of the zone. Usually there is one zone.
CREATE TABLE store.roll_up_zone (
    id        smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time_zone text NOT NULL UNIQUE
);
-- What the aggregates have not seen. Taken by `metering.refresh-roll-ups`, which must work outside a transaction.
CREATE TABLE store.stale_roll_up (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_at  timestamptz NOT NULL,
    until_at timestamptz NOT NULL
);
GRANT SELECT ON store.roll_up_zone TO gatemeter_worker;
GRANT SELECT, INSERT, DELETE ON store.stale_roll_up TO gatemeter_worker;

CREATE PROCEDURE gm.make_roll_up_views() LANGUAGE plpgsql AS
$$
DECLARE
    step text;
    parts text;
BEGIN
    FOREACH step IN ARRAY ARRAY['hour', 'day', 'month'] LOOP
        SELECT string_agg(format('
            SELECT c.meter_id, c.channel, %1$s AS start, c.project_id, sum(c.quantity)::bigint AS quantity,
                   sum(c.rows)::bigint AS rows, sum(c.covered_s)::bigint AS covered_s,
                   sum(c.estimated_s)::bigint AS estimated_s
            FROM store.%2$I c
            WHERE c.reach <= %3$s AND c.project_id IN (SELECT id FROM public.project WHERE time_zone = %4$L)
            GROUP BY 1, 2, 3, 4',
            CASE WHEN step = 'hour' AND NOT gm.has_whole_hours(z.time_zone)
                 THEN format('gm.hour_of(c.start, %L)', z.time_zone) ELSE 'c.start' END,
            format('usage_%s_z%s', step, z.id), CASE step WHEN 'hour' THEN 0 WHEN 'day' THEN 1 ELSE 2 END, z.time_zone),
            ' UNION ALL ' ORDER BY z.id)
        INTO parts FROM store.roll_up_zone z;
        EXECUTE format('CREATE OR REPLACE VIEW store.%I AS ', 'usage_' || step) || coalesce(parts, '
            SELECT NULL::bigint AS meter_id, NULL::smallint AS channel, NULL::timestamptz AS start,
                   NULL::bigint AS project_id, NULL::bigint AS quantity, NULL::bigint AS rows,
                   NULL::bigint AS covered_s, NULL::bigint AS estimated_s WHERE false');
        EXECUTE format('GRANT SELECT ON store.%I TO gatemeter_ingest, gatemeter_worker', 'usage_' || step);
    END LOOP;
END
$$;

CREATE FUNCTION gm.has_whole_hours(zone text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT bool_and(extract(minute FROM at AT TIME ZONE zone) = 0)
    FROM generate_series(timestamptz '2024-01-01 00:00+00', timestamptz '2024-12-01 00:00+00', interval '1 month') AS at
$$;

-- The zone's aggregates, when they are not there yet. By the hour where its hours are those of UTC, else by the quarter:
-- only a bucket without a zone of its own tells apart the two hours that a clock shows twice.
CREATE FUNCTION gm.ensure_zone(zone text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    nth smallint;
    level record;
BEGIN
    IF NOT gm.has_timescale() OR EXISTS (SELECT FROM store.roll_up_zone WHERE time_zone = zone) THEN
        RETURN;
    END IF;
    LOCK TABLE store.roll_up_zone IN EXCLUSIVE MODE;
    INSERT INTO store.roll_up_zone (time_zone) VALUES (zone) ON CONFLICT DO NOTHING RETURNING id INTO nth;
    IF nth IS NULL THEN
        RETURN; -- another transaction made them meanwhile
    END IF;
    -- The worker refreshes them, and only an owner may; a new owner must be able to create in the schema.
    GRANT CREATE ON SCHEMA store TO gatemeter_worker;
    EXECUTE format('
        CREATE MATERIALIZED VIEW store.%I WITH (timescaledb.continuous) AS
        SELECT meter_id, channel, project_id, public.time_bucket(%L::interval, start) AS start,
               gm.reach(start, length_s, %L) AS reach, sum(quantity)::bigint AS quantity, count(*) AS rows,
               sum(length_s)::bigint AS covered_s,
               coalesce(sum(length_s) FILTER (WHERE gm.is_estimated(method)), 0)::bigint AS estimated_s
        FROM store.usage GROUP BY 1, 2, 3, 4, 5 WITH NO DATA',
        format('usage_hour_z%s', nth), CASE WHEN gm.has_whole_hours(zone) THEN '1 hour' ELSE '15 minutes' END, zone);
    FOR level IN SELECT * FROM (VALUES ('day', 'hour', 1), ('month', 'day', 2)) AS v (step, source, reach) LOOP
        EXECUTE format('
            CREATE MATERIALIZED VIEW store.%I WITH (timescaledb.continuous) AS
            SELECT meter_id, channel, project_id, public.time_bucket(%L::interval, start, %L) AS start,
                   greatest(reach, %s::smallint) AS reach, sum(quantity)::bigint AS quantity, sum(rows)::bigint AS rows,
                   sum(covered_s)::bigint AS covered_s, sum(estimated_s)::bigint AS estimated_s
            FROM store.%I GROUP BY 1, 2, 3, 4, 5 WITH NO DATA',
            format('usage_%s_z%s', level.step, nth), '1 ' || level.step, zone, level.reach,
            format('usage_%s_z%s', level.source, nth));
    END LOOP;
    FOR level IN SELECT unnest(ARRAY['hour', 'day', 'month']) AS step LOOP
        EXECUTE format('ALTER MATERIALIZED VIEW store.%I OWNER TO gatemeter_worker', format('usage_%s_z%s', level.step, nth));
        EXECUTE format('GRANT SELECT ON store.%I TO %I', format('usage_%s_z%s', level.step, nth), current_user);
    END LOOP;
    REVOKE CREATE ON SCHEMA store FROM gatemeter_worker;
    CALL gm.make_roll_up_views();
    INSERT INTO store.stale_roll_up (from_at, until_at)
    SELECT min(start), max(start) + interval '1 second' FROM store.usage HAVING count(*) > 0;
END
$$;

CREATE FUNCTION gm.project_zone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.ensure_zone(NEW.time_zone);
    IF TG_OP = 'UPDATE' THEN
        CALL gm.count_again(NEW.id);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER zone_is_known AFTER INSERT ON project FOR EACH ROW EXECUTE FUNCTION gm.project_zone();
CREATE TRIGGER zone_changed AFTER UPDATE OF time_zone ON project FOR EACH ROW
    WHEN (OLD.time_zone <> NEW.time_zone) EXECUTE FUNCTION gm.project_zone();

-- How long data is kept: NULL keeps everything. `gone` never goes back: what usage was derived from is not there any more,
-- whatever the setting says later.
CREATE TABLE store.retention (
    only_one               boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    readings_months        int CHECK (readings_months >= 1),
    usage_months           int CHECK (usage_months >= 1),
    gaps_months            int CHECK (gaps_months >= 1),
    superseded_months      int CHECK (superseded_months >= 1),
    drop_chunks            boolean NOT NULL DEFAULT false,
    columnstore_after_days int NOT NULL DEFAULT 45 CHECK (columnstore_after_days >= 1),
    readings_gone_before   timestamptz,
    usage_gone_before      timestamptz
);
INSERT INTO store.retention DEFAULT VALUES;
GRANT SELECT ON store.retention TO gatemeter_ingest, gatemeter_worker;
COMMENT ON COLUMN store.retention.drop_chunks IS 'TimescaleDB drops chunks and cannot detach them: only when somebody said so.';

CREATE FUNCTION gm.kept_from(months int) RETURNS timestamptz LANGUAGE sql STABLE AS
$$ SELECT date_trunc('month', now() - make_interval(months => months), 'UTC') $$;

CREATE FUNCTION gm.readings_kept_from() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT greatest(gm.kept_from(readings_months), readings_gone_before) FROM store.retention $$;
COMMENT ON FUNCTION gm.readings_kept_from() IS 'Usage is never derived again from before; NULL: everything is kept.';

CREATE FUNCTION gm.usage_kept_from() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT greatest(gm.kept_from(usage_months), usage_gone_before) FROM store.retention $$;

-- The worker's door: what to refresh, in order. Hours follow the engine's own log of changes. Days and months are computed
-- again whole (`force`): TimescaleDB 2.30 misses a bucket of variable length when the last change lies on its beginning.
CREATE FUNCTION gm.stale_months() RETURNS TABLE (name text, from_at timestamptz, until_at timestamptz, force boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT format('store.usage_%s_z%s', level.step, z.id),
           greatest(date_trunc(level.outer_step, spans.from_at, z.time_zone), gm.usage_kept_from()),
           date_trunc(level.outer_step, spans.until_at, z.time_zone) + level.beyond, level.nth > 1
    FROM store.roll_up_zone z
    CROSS JOIN LATERAL (
        SELECT min(s.from_at) AS from_at, max(s.until_at) AS until_at
        FROM store.stale_roll_up s GROUP BY date_trunc('month', s.from_at, z.time_zone)) AS spans
    CROSS JOIN (VALUES (1, 'hour', 'day', interval '26 hours'), (2, 'day', 'day', interval '26 hours'),
                       (3, 'month', 'month', interval '32 days')) AS level (nth, step, outer_step, beyond)
    WHERE spans.until_at > coalesce(gm.usage_kept_from(), '-infinity')
    ORDER BY z.id, level.nth, spans.from_at
$$;

-- Partitions of plain PostgreSQL by month.
CREATE FUNCTION gm.month_partitions() RETURNS TABLE (series text, place regclass, name text, month date)
LANGUAGE sql STABLE AS
$$
    SELECT s.series, c.oid::regclass, c.relname::text, to_date(right(c.relname, 7), 'YYYY_MM')
    FROM (VALUES ('reading'), ('usage')) AS s (series)
    JOIN pg_inherits i ON i.inhparent = format('store.%I', s.series)::regclass
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE c.relname ~ ('^' || s.series || '_\d{4}_\d{2}$')
$$;

-- Also where rows of the month lie in the default partition already: they move into the new one.
CREATE OR REPLACE FUNCTION gm.ensure_partitions(from_on date, until_on date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    month date := date_trunc('month', from_on)::date;
    low timestamptz;
    high timestamptz;
    one record;
    place text;
    made int := 0;
BEGIN
    IF gm.has_timescale() THEN
        RETURN 0;
    END IF;
    WHILE month < until_on LOOP
        low := month::timestamp AT TIME ZONE 'UTC';
        high := (month + interval '1 month')::timestamp AT TIME ZONE 'UTC';
        FOR one IN SELECT * FROM (VALUES ('reading', 'taken_at'), ('usage', 'start')) AS v (series, at) LOOP
            place := one.series || to_char(month, '_YYYY_MM');
            IF to_regclass(format('store.%I', place)) IS NULL AND to_regclass(format('archive.%I', place)) IS NULL THEN
                EXECUTE format('CREATE TABLE store.%I (LIKE store.%I INCLUDING ALL)', place, one.series);
                EXECUTE format('WITH moved AS (DELETE FROM store.%I WHERE %I >= $1 AND %2$I < $2 RETURNING *)
                                INSERT INTO store.%3$I SELECT * FROM moved', one.series || '_other', one.at, place)
                    USING low, high;
                EXECUTE format('ALTER TABLE store.%I ATTACH PARTITION store.%I FOR VALUES FROM (%L) TO (%L)',
                               one.series, place, low, high);
                made := made + 1;
            END IF;
        END LOOP;
        month := (month + interval '1 month')::date;
    END LOOP;
    RETURN made;
END
$$;

-- Gives rows of the default partition a partition of their month. Years that no meter has seen stay where they are.
CREATE FUNCTION gm.adopt_strays() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    month date;
    made int := 0;
BEGIN
    IF gm.has_timescale() THEN
        RETURN 0;
    END IF;
    FOR month IN
        SELECT DISTINCT date_trunc('month', at, 'UTC')::date
        FROM (SELECT taken_at AS at FROM store.reading_other UNION ALL SELECT start FROM store.usage_other) AS stray
        WHERE at >= '2000-01-01 00:00+00' AND at < now() + interval '6 months'
    LOOP
        made := made + gm.ensure_partitions(month, month + 1);
    END LOOP;
    RETURN made;
END
$$;

-- A cold partition keeps its key, which late readings need to be stored once, and gets a BRIN on the time: rows came in
-- its order, so a few kilobytes find the days of all meters.
CREATE FUNCTION gm.index_cold_partitions() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
    made int := 0;
BEGIN
    IF gm.has_timescale() THEN
        RETURN 0;
    END IF;
    FOR one IN SELECT p.*, CASE p.series WHEN 'reading' THEN 'taken_at' ELSE 'start' END AS at
               FROM gm.month_partitions() p, store.retention r
               WHERE p.month + interval '1 month' < now() - make_interval(days => r.columnstore_after_days)
                 AND to_regclass(format('store.%I', p.name || '_brin')) IS NULL
    LOOP
        EXECUTE format('CREATE INDEX %I ON %s USING brin (%I) WITH (pages_per_range = 32)', one.name || '_brin', one.place, one.at);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Takes away what is older than the settings. Plain PostgreSQL: whole partitions move to schema `archive`, where an
-- administrator keeps, dumps or drops them. TimescaleDB: chunks are dropped, once that is confirmed.
CREATE SCHEMA archive;
CREATE FUNCTION gm.retain() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    kept store.retention;
    one record;
    gone int := 0;
BEGIN
    SELECT * INTO kept FROM store.retention;
    IF gm.has_timescale() THEN
        IF kept.drop_chunks AND kept.readings_months IS NOT NULL THEN
            gone := gone + (SELECT count(*) FROM drop_chunks('store.reading', older_than => gm.readings_kept_from()));
            UPDATE store.retention SET readings_gone_before = gm.readings_kept_from();
        END IF;
        IF kept.drop_chunks AND kept.usage_months IS NOT NULL THEN
            gone := gone + (SELECT count(*) FROM drop_chunks('store.usage', older_than => gm.usage_kept_from()));
            UPDATE store.retention SET usage_gone_before = gm.usage_kept_from();
        END IF;
    ELSE
        FOR one IN SELECT * FROM gm.month_partitions()
                   WHERE (month + interval '1 month')::timestamp AT TIME ZONE 'UTC'
                         <= CASE series WHEN 'reading' THEN gm.readings_kept_from() ELSE gm.usage_kept_from() END
                   ORDER BY name LOOP
            EXECUTE format('ALTER TABLE store.%I DETACH PARTITION %s', one.series, one.place);
            EXECUTE format('ALTER TABLE %s SET SCHEMA archive', one.place);
            gone := gone + 1;
        END LOOP;
        UPDATE store.retention SET
            readings_gone_before = CASE WHEN readings_months IS NULL THEN readings_gone_before ELSE gm.readings_kept_from() END,
            usage_gone_before = CASE WHEN usage_months IS NULL THEN usage_gone_before ELSE gm.usage_kept_from() END;
    END IF;
    DELETE FROM reading_gap WHERE until_at < gm.kept_from(kept.gaps_months);
    DELETE FROM store.usage_superseded WHERE replaced_at < gm.kept_from(kept.superseded_months);
    RETURN gone;
END
$$;

-- The columnstore policy follows the setting.
CREATE FUNCTION gm.set_columnstore() RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    series text;
    after interval := (SELECT make_interval(days => columnstore_after_days) FROM store.retention);
BEGIN
    IF NOT gm.has_timescale() THEN
        RETURN;
    END IF;
    FOREACH series IN ARRAY ARRAY['store.reading', 'store.usage'] LOOP
        CALL remove_columnstore_policy(series::regclass, if_exists => true);
        CALL add_columnstore_policy(series::regclass, after => after);
    END LOOP;
END
$$;

-- What people read. As `usage`: a bar that reaches past the end of an occupancy would tell what the next one used.
CREATE PROCEDURE gm.make_guarded_roll_up(step text) LANGUAGE plpgsql AS
$$
BEGIN
    EXECUTE format($view$
        CREATE VIEW %1$I WITH (security_barrier) AS
        SELECT u.project_id, u.meter_id, u.channel, u.start, (u.start AT TIME ZONE p.time_zone)::date AS day,
               %2$s AS length_s, u.quantity, u.rows, u.covered_s, u.estimated_s
        FROM store.%1$I u JOIN project p ON p.id = u.project_id
        WHERE u.rows > 0 AND ((SELECT gm.is_system())
           OR ((SELECT gm.kind()) = 'staff' AND u.project_id = ANY ((SELECT gm.projects())::bigint[]))
           OR ((SELECT gm.kind()) = 'resident' AND u.project_id = ANY ((SELECT gm.projects())::bigint[]) AND EXISTS (
               SELECT FROM gm.my_meters() mine
               WHERE mine.meter_id = u.meter_id AND u.start >= mine.from_at
                 AND u.start + %2$s * interval '1 second' <= mine.until_at)))
        $view$, 'usage_' || step,
        CASE step WHEN 'hour' THEN '3600' ELSE format('gm.length_of(%L, u.start, p.time_zone)', step) END);
    EXECUTE format('GRANT SELECT ON %I TO gatemeter_web, gatemeter_ingest, gatemeter_worker', 'usage_' || step);
END
$$;

DO $$
BEGIN
    IF gm.has_timescale() THEN
        CALL gm.make_roll_up_views();
        PERFORM gm.ensure_zone(time_zone) FROM project GROUP BY time_zone;
    ELSE
        CALL gm.make_roll_up_tables();
    END IF;
    CALL gm.make_guarded_roll_up('hour');
    CALL gm.make_guarded_roll_up('day');
    CALL gm.make_guarded_roll_up('month');
    CALL gm.watch_usage();
    CALL gm.count_again();
END $$;

-- Of staff alone: who lives in a house of two would read his neighbour's usage from the sum.
CREATE VIEW usage_total WITH (security_barrier) AS
SELECT t.project_id, t.medium, t.channel, t.start, t.reach,
       CASE WHEN sum(t.top_rows) > 0 THEN sum(t.top)::bigint END AS top, sum(t.all_meters)::bigint AS all_meters,
       sum(t.rows)::bigint AS rows
FROM (SELECT * FROM store.usage_total UNION ALL SELECT * FROM store.usage_total_change) AS t
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND t.project_id = ANY ((SELECT gm.projects())::bigint[]))
GROUP BY t.project_id, t.medium, t.channel, t.start, t.reach
HAVING sum(t.rows) > 0;
GRANT SELECT ON usage_total TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- Nobody counts but the triggers; the worker does the maintenance.
REVOKE EXECUTE ON ALL PROCEDURES IN SCHEMA gm FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION gm.count_hours(gm.counted_hour[]), gm.fold_totals(), gm.adopt_strays(), gm.index_cold_partitions(), gm.retain(), gm.stale_months(),
    gm.ensure_zone(text), gm.ensure_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.fold_totals(), gm.adopt_strays(), gm.index_cold_partitions(), gm.retain(), gm.stale_months(),
    gm.ensure_partitions(date, date) TO gatemeter_worker;
