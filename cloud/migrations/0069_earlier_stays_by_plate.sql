-- As in 0053, but each stay looks up its plate by the index, whatever statistics say: while there were none, as after
-- an installation or a rush, every stay was compared with all of its lot, and taking in passages became slower and slower.

CREATE OR REPLACE FUNCTION gm.earlier_stays(stays bigint[], zone text)
RETURNS TABLE (session_id bigint, id bigint, lot_id bigint, plate text, entered_at timestamptz, left_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.id, e.id, e.lot_id, e.plate, e.entered_at, e.left_at
    FROM parking_session s
    -- OFFSET keeps it a look-up for each stay.
    CROSS JOIN LATERAL (
        SELECT o.id, o.lot_id, o.plate, o.entered_at, o.left_at FROM parking_session o
        WHERE o.project_id = s.project_id AND o.plate = s.plate AND o.lot_id = s.lot_id AND o.state = 'closed'
          AND o.entered_at >= date_trunc('day', s.entered_at, zone) AND o.entered_at <= s.entered_at
          AND (o.entered_at, o.id) < (s.entered_at, s.id)
        OFFSET 0) e
    WHERE s.id = ANY (stays) AND (gm.kind() = 'system' OR s.project_id = ANY (gm.projects())) AND s.plate <> ''
    ORDER BY e.entered_at, e.id
$$;
