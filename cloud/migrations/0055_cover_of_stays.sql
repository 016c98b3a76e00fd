-- A resident's pass may begin in the past. What stays of the plate cost that are over he does not see: a job prices them.

CREATE POLICY resident_has_priced ON job FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND kind = 'parking.price-cover'
                AND project_id = ANY ((SELECT gm.projects())::bigint[]) AND created_by = (SELECT gm.user_id())
                AND (payload ->> 'pass_id')::bigint IN (SELECT id FROM visitor_pass));
CREATE POLICY resident_sees_his ON job FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND kind = 'parking.price-cover'
           AND project_id = ANY ((SELECT gm.projects())::bigint[]) AND created_by = (SELECT gm.user_id()));

-- What covers a stay has a name: the guard is asked why it costs nothing.
DROP FUNCTION gm.white_times(bigint, text[], timestamptz, timestamptz);
CREATE FUNCTION gm.white_times(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (entry_id bigint, plate text, lot_id bigint, start timestamptz, "end" timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT e.id, e.plate, e.lot_id, e.valid_from, least(e.valid_until, e.ended_at)
    FROM parking_list_entry e
    WHERE e.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND e.listing = 'white' AND e.plate = ANY (plates)
      AND (e.ended_at IS NULL OR e.ended_at > e.valid_from) AND e.valid_from <= until
      AND (least(e.valid_until, e.ended_at) IS NULL OR least(e.valid_until, e.ended_at) > since)
    ORDER BY e.plate, e.valid_from, e.id
$$;
DROP FUNCTION gm.free_pass_times(bigint, text[], timestamptz, timestamptz);
CREATE FUNCTION gm.free_pass_times(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (pass_id bigint, plate text, lot_id bigint, start timestamptz, "end" timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT v.id, v.plate, l.lot_id, lower(v.valid), least(upper(v.valid), v.revoked_at)
    FROM visitor_pass v JOIN visitor_pass_lot l ON l.pass_id = v.id
    WHERE v.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND v.plate = ANY (plates) AND v.free AND v.valid && tstzrange(since, until, '[]')
      AND (v.revoked_at IS NULL OR v.revoked_at > lower(v.valid))
    ORDER BY v.plate, lower(v.valid), l.lot_id
$$;
REVOKE EXECUTE ON FUNCTION gm.white_times(bigint, text[], timestamptz, timestamptz),
    gm.free_pass_times(bigint, text[], timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.white_times(bigint, text[], timestamptz, timestamptz),
    gm.free_pass_times(bigint, text[], timestamptz, timestamptz)
    TO gatemeter_web, gatemeter_worker, gatemeter_ingest;
