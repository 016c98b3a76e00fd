-- Permits that hold only for vehicles that come in by certain lanes.

-- Entries by one of which a vehicle has to come in, each from when to when; a permit without any holds at all. What counts
-- for a stay is the moment at which it began.
CREATE TABLE permit_lane (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    lane_id    bigint NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid)),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    FOREIGN KEY (project_id, lane_id) REFERENCES parking_lane (project_id, id),
    EXCLUDE USING gist (permit_id WITH =, lane_id WITH =, valid WITH &&)
);
COMMENT ON TABLE permit_lane IS 'Lanes by which vehicles have to come in; at a moment without any of its lanes a permit holds at all.';
CREATE INDEX permit_lane_of_permit ON permit_lane (permit_id);
CREATE INDEX permit_lane_of_lane ON permit_lane (lane_id, permit_id);
CALL gm.keep_audit('permit_lane');
CALL gm.guard('permit_lane', 'permit_id IN (SELECT id FROM permit)');

CREATE TABLE permit_product_lane (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    product_id bigint NOT NULL,
    lane_id    bigint NOT NULL,
    UNIQUE (product_id, lane_id),
    FOREIGN KEY (project_id, product_id) REFERENCES permit_product (project_id, id),
    FOREIGN KEY (project_id, lane_id) REFERENCES parking_lane (project_id, id)
);
CALL gm.guard('permit_product_lane', 'true');

DROP FUNCTION gm.permit_terms(bigint, text[], bigint[]);
DROP FUNCTION gm.stays_of_plates(bigint, text[], timestamptz, timestamptz);

-- As in 0063, with the lanes.
CREATE FUNCTION gm.permit_terms(project bigint, plates text[], permits bigint[])
RETURNS TABLE (permit_id bigint, lots bigint[], lanes bigint[], lanes_valid tstzrange[], spaces int, when_freed text,
               grace_days int, vehicle_class text, classes_until timestamptz[], classes text[], ended_at timestamptz,
               periods tstzmultirange, suspended tstzmultirange, plate text, plate_valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT p.id, l.lots, n.lanes, n.lanes_valid, p.spaces, p.when_freed, p.grace_days, p.vehicle_class, c.classes_until,
           c.classes, p.ended_at, d.periods, coalesce(s.suspended, '{}'), t.plate, range_agg(t.valid)
    FROM permit p
    JOIN permit_plate t ON t.permit_id = p.id
    CROSS JOIN LATERAL (SELECT array_agg(lot_id ORDER BY lot_id) AS lots FROM permit_lot WHERE permit_id = p.id) l
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(o.lane_id ORDER BY o.id), '{}') AS lanes,
                               coalesce(array_agg(o.valid ORDER BY o.id), '{}') AS lanes_valid
                        FROM permit_lane o WHERE o.permit_id = p.id) n
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS periods FROM permit_period WHERE permit_id = p.id) d
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS suspended FROM permit_suspension WHERE permit_id = p.id) s
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(o.until ORDER BY o.until), '{}') AS classes_until,
                               coalesce(array_agg(o.vehicle_class ORDER BY o.until), '{}') AS classes
                        FROM permit_class o WHERE o.permit_id = p.id) c
    WHERE p.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND p.id IN (SELECT unnest(permits)
                   UNION SELECT o.permit_id FROM permit_plate o WHERE o.project_id = project AND o.plate = ANY (plates))
    GROUP BY p.id, l.lots, n.lanes, n.lanes_valid, c.classes_until, c.classes, d.periods, s.suspended, t.plate
$$;
-- As in 0056, with the lane by which the vehicle came in, where somebody asks for it.
CREATE FUNCTION gm.stays_of_plates(project bigint, plates text[], since timestamptz, until timestamptz, with_lanes boolean)
RETURNS TABLE (lot_id bigint, plate text, vehicle_class text, entered_at timestamptz, left_at timestamptz, lane_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.lot_id, s.plate, s.vehicle_class, s.entered_at, s.left_at,
           CASE WHEN with_lanes THEN
               (SELECT e.lane_id FROM passage e
                WHERE e.session_id = s.id AND e.direction = 'entry' AND e.outcome = 'passed' AND e.taken_at = s.entered_at
                ORDER BY e.id LIMIT 1) END
    FROM parking_session s
    WHERE s.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND s.plate = ANY (plates) AND s.entered_at <= until AND (s.left_at IS NULL OR s.left_at >= since)
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz, boolean)
    TO gatemeter_web, gatemeter_worker, gatemeter_ingest;
