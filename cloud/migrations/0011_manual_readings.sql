-- Readings that people type in. The web role has no access to the series: this one door checks who asks, per row.
-- It runs as the owner, past row-level security, and therefore repeats the condition of the policies itself.
CREATE FUNCTION gm.store_manual_readings(meters bigint[], channels smallint[], times timestamptz[], vals bigint[])
RETURNS TABLE (nth bigint, stored bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    -- Inside, current_user is the owner: who called is the role that was taken, or the one that logged in.
    caller text := coalesce(nullif(current_setting('role'), 'none'), session_user);
BEGIN
    IF gm.kind() <> 'staff' AND NOT (gm.kind() = 'system' AND caller = 'gatemeter_worker') THEN
        RAISE EXCEPTION 'only staff store manual readings' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF EXISTS (SELECT FROM unnest(meters) AS w (id) LEFT JOIN meter m USING (id)
               WHERE m.id IS NULL OR (gm.kind() = 'staff' AND NOT m.project_id = ANY (gm.projects()))) THEN
        RAISE EXCEPTION 'a meter is not in your projects' USING ERRCODE = 'insufficient_privilege';
    END IF;
    WITH added AS (
        INSERT INTO store.reading AS r (meter_id, channel, taken_at, value, quality, project_id)
        SELECT w.meter_id, w.channel, w.taken_at, w.value, 32, m.project_id
        FROM unnest(meters, channels, times, vals) AS w (meter_id, channel, taken_at, value)
        JOIN meter m ON m.id = w.meter_id
        ORDER BY w.meter_id, w.channel, w.taken_at
        ON CONFLICT DO NOTHING
        RETURNING r.meter_id, r.channel, r.project_id, r.taken_at)
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    SELECT a.meter_id, a.channel, a.project_id, min(a.taken_at), max(a.taken_at)
    FROM added a GROUP BY a.meter_id, a.channel, a.project_id;
    -- A statement sees what the one before it stored: the value in force, whoever stored it.
    RETURN QUERY SELECT w.nth, r.value
    FROM unnest(meters, channels, times) WITH ORDINALITY AS w (meter_id, channel, taken_at, nth)
    JOIN store.reading r ON r.meter_id = w.meter_id AND r.channel = w.channel AND r.taken_at = w.taken_at
    ORDER BY w.nth;
END
$$;
REVOKE EXECUTE ON FUNCTION gm.store_manual_readings(bigint[], smallint[], timestamptz[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.store_manual_readings(bigint[], smallint[], timestamptz[], bigint[])
    TO gatemeter_web, gatemeter_worker;
