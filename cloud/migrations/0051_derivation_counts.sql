-- The derivation has the rows that it adds in memory, sorted: it counts those that hours hold whole itself and adds the
-- sums here. A third of the time of storing usage was spent on counting them from the transition table. Whoever else
-- adds rows, and rows that reach over hours, are counted by the trigger as before.

DROP TRIGGER count_added ON store.usage;
CREATE TRIGGER count_added AFTER INSERT ON store.usage REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    WHEN (current_setting('gm.counts_itself', true) IS DISTINCT FROM 'on') EXECUTE FUNCTION gm.usage_added();
COMMENT ON TRIGGER count_added ON store.usage IS 'Unless the writer counts (cloud/metering/rollups/counting.py).';

CREATE FUNCTION gm.add_hours(projects bigint[], media text[], channels smallint[], starts timestamptz[], sums bigint[],
                             top_sums bigint[])
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    -- Four sums of each hour lie one after the other: quantity, rows, covered and estimated seconds.
    INSERT INTO store.usage_total_change
    SELECT projects[n], media[n], channels[n], starts[n], 0,
           top_sums[4 * n - 3], top_sums[4 * n - 2], sums[4 * n - 3], sums[4 * n - 2],
           top_sums[4 * n - 1], top_sums[4 * n], sums[4 * n - 1], sums[4 * n]
    FROM generate_subscripts(projects, 1) AS n
$$;
COMMENT ON FUNCTION gm.add_hours(bigint[], text[], smallint[], timestamptz[], bigint[], bigint[]) IS 'Totals of local hours; top_sums: of meters without a master.';

CREATE FUNCTION gm.add_days(step text, meters bigint[], channels smallint[], days bigint[], projects bigint[],
                            quantities bigint[], counts bigint[], covered_s bigint[], estimated_s bigint[])
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    -- There days and months are continuous aggregates.
    IF gm.has_timescale() THEN
        RETURN;
    END IF;
    EXECUTE format('
        INSERT INTO store.%I AS t (meter_id, channel, start, project_id, quantity, rows, covered_s, estimated_s)
        SELECT s.meter_id, s.channel, (date ''epoch'' + s.day::int)::timestamp AT TIME ZONE p.time_zone, s.project_id,
               s.quantity, s.rows, s.covered_s, s.estimated_s
        FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             AS s (meter_id, channel, day, project_id, quantity, rows, covered_s, estimated_s)
        JOIN project p ON p.id = s.project_id
        ORDER BY 1, 2, 3
        ON CONFLICT (meter_id, channel, start) DO UPDATE
        SET quantity = t.quantity + excluded.quantity, rows = t.rows + excluded.rows,
            covered_s = t.covered_s + excluded.covered_s, estimated_s = t.estimated_s + excluded.estimated_s',
        'usage_' || step) USING meters, channels, days, projects, quantities, counts, covered_s, estimated_s;
END
$$;
COMMENT ON FUNCTION gm.add_days(text, bigint[], smallint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]) IS 'Sums of local days or months (step) of meters, each once; days: since 1970-01-01, of a month its first.';

REVOKE EXECUTE ON FUNCTION gm.add_hours(bigint[], text[], smallint[], timestamptz[], bigint[], bigint[]),
    gm.add_days(text, bigint[], smallint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.add_hours(bigint[], text[], smallint[], timestamptz[], bigint[], bigint[]),
    gm.add_days(text, bigint[], smallint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[]) TO gatemeter_worker;
