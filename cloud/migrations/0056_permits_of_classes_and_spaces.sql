-- Permits for one class of vehicles, permits that name numbered spaces, and what residents may know of full lots.

-- Lanes and prices look at the class now. What was made before was made for every vehicle, whatever its product said.
ALTER TABLE permit ADD COLUMN vehicle_class text NOT NULL DEFAULT '' CHECK (length(vehicle_class) <= 32);
COMMENT ON COLUMN permit.vehicle_class IS 'Only vehicles of this class, as they were taken for at the entry; empty: of any.';
COMMENT ON COLUMN permit_product.vehicle_class IS 'Class of vehicles for which its permits hold, empty for any.';

DROP FUNCTION gm.permit_terms(bigint, text[], bigint[]);
DROP FUNCTION gm.stays_of_plates(bigint, text[], timestamptz, timestamptz);

-- As in 0046, with the class of the permit and that of the vehicle.
CREATE FUNCTION gm.permit_terms(project bigint, plates text[], permits bigint[])
RETURNS TABLE (permit_id bigint, lots bigint[], spaces int, when_freed text, grace_days int, vehicle_class text,
               ended_at timestamptz, periods tstzmultirange, suspended tstzmultirange, plate text,
               plate_valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT p.id, l.lots, p.spaces, p.when_freed, p.grace_days, p.vehicle_class, p.ended_at, d.periods,
           coalesce(s.suspended, '{}'), t.plate, range_agg(t.valid)
    FROM permit p
    JOIN permit_plate t ON t.permit_id = p.id
    CROSS JOIN LATERAL (SELECT array_agg(lot_id ORDER BY lot_id) AS lots FROM permit_lot WHERE permit_id = p.id) l
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS periods FROM permit_period WHERE permit_id = p.id) d
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS suspended FROM permit_suspension WHERE permit_id = p.id) s
    WHERE p.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND p.id IN (SELECT unnest(permits)
                   UNION SELECT o.permit_id FROM permit_plate o WHERE o.project_id = project AND o.plate = ANY (plates))
    GROUP BY p.id, l.lots, d.periods, s.suspended, t.plate
$$;
CREATE FUNCTION gm.stays_of_plates(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (lot_id bigint, plate text, vehicle_class text, entered_at timestamptz, left_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.lot_id, s.plate, s.vehicle_class, s.entered_at, s.left_at FROM parking_session s
    WHERE s.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND s.plate = ANY (plates) AND s.entered_at <= until AND (s.left_at IS NULL OR s.left_at >= since)
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz)
    TO gatemeter_web, gatemeter_worker, gatemeter_ingest;

-- How much of a lot is for which class is no secret: residents are told how many places are free for their vehicle.
CREATE POLICY resident ON parking_lot_class FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[]));
