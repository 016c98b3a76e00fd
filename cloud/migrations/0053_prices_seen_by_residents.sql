-- What a resident's stay costs follows from white lists, passes and earlier stays that he does not see himself.

CREATE FUNCTION gm.white_times(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (plate text, lot_id bigint, start timestamptz, "end" timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT e.plate, e.lot_id, e.valid_from, least(e.valid_until, e.ended_at)
    FROM parking_list_entry e
    WHERE e.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND e.listing = 'white' AND e.plate = ANY (plates)
      AND (e.ended_at IS NULL OR e.ended_at > e.valid_from) AND e.valid_from <= until
      AND (least(e.valid_until, e.ended_at) IS NULL OR least(e.valid_until, e.ended_at) > since)
    ORDER BY e.plate, e.valid_from, e.id
$$;
CREATE FUNCTION gm.free_pass_times(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (plate text, lot_id bigint, start timestamptz, "end" timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT v.plate, l.lot_id, lower(v.valid), least(upper(v.valid), v.revoked_at)
    FROM visitor_pass v JOIN visitor_pass_lot l ON l.pass_id = v.id
    WHERE v.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND v.plate = ANY (plates) AND v.free AND v.valid && tstzrange(since, until, '[]')
      AND (v.revoked_at IS NULL OR v.revoked_at > lower(v.valid))
    ORDER BY v.plate, lower(v.valid), l.lot_id
$$;
-- Stays of the same plate and lot whose entry is earlier on the same local day, and whose end was seen.
CREATE FUNCTION gm.earlier_stays(stays bigint[], zone text)
RETURNS TABLE (session_id bigint, id bigint, lot_id bigint, plate text, entered_at timestamptz, left_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.id, e.id, e.lot_id, e.plate, e.entered_at, e.left_at
    FROM parking_session s JOIN parking_session e
      ON e.project_id = s.project_id AND e.lot_id = s.lot_id AND e.plate = s.plate
     AND (e.entered_at, e.id) < (s.entered_at, s.id) AND e.entered_at >= date_trunc('day', s.entered_at, zone)
    WHERE s.id = ANY (stays) AND (gm.kind() = 'system' OR s.project_id = ANY (gm.projects()))
      AND s.plate <> '' AND e.state = 'closed'
    ORDER BY e.entered_at, e.id
$$;
REVOKE EXECUTE ON FUNCTION gm.white_times(bigint, text[], timestamptz, timestamptz), gm.free_pass_times(bigint, text[], timestamptz, timestamptz), gm.earlier_stays(bigint[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.white_times(bigint, text[], timestamptz, timestamptz), gm.free_pass_times(bigint, text[], timestamptz, timestamptz), gm.earlier_stays(bigint[], text)
    TO gatemeter_web, gatemeter_worker, gatemeter_ingest;
