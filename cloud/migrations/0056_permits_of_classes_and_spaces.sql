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

-- The numbered spaces of permits, each from when it was given. `valid` follows from that and from the periods and the end
-- of the permit, and is written with every change.
CREATE TABLE permit_space (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    space_id   bigint NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    valid      tstzmultirange NOT NULL DEFAULT '{}',
    UNIQUE (permit_id, space_id),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    FOREIGN KEY (project_id, space_id) REFERENCES parking_space (project_id, id),
    CONSTRAINT one_permit_a_space EXCLUDE USING gist (space_id WITH =, valid WITH &&)
);
COMMENT ON COLUMN permit_space.since IS 'Before it the space may have been another permit''s.';
COMMENT ON COLUMN permit_space.valid IS 'When the permit holds from then on, suspended or not, without days of grace: the space is no other permit''s then.';
COMMENT ON COLUMN permit.space IS 'What people wrote of its spaces and what is no numbered space, or was not found among them.';
CALL gm.keep_audit('permit_space');
CALL gm.guard('permit_space', 'permit_id IN (SELECT id FROM permit)');
-- Residents see the spaces on which their permits let them stand, whoever owns them.
DROP POLICY resident ON parking_space;
CREATE POLICY resident ON parking_space FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND (id IN (SELECT space_id FROM parking_space_holder) OR id IN (SELECT space_id FROM permit_space)));

CREATE INDEX parking_space_by_number ON parking_space (lot_id, lower(number));

-- When a permit holds from a moment on.
CREATE FUNCTION gm.permit_time(of_permit bigint, since timestamptz) RETURNS tstzmultirange
LANGUAGE sql STABLE SET search_path = public, pg_temp AS
$$
    SELECT coalesce(range_agg(d.valid * tstzrange(NULL, p.ended_at) * tstzrange(since, NULL)), '{}')
    FROM permit p JOIN permit_period d ON d.permit_id = p.id WHERE p.id = of_permit
$$;

-- Spaces that permits name in writing become references where the number is that of exactly one space of the permit's
-- lots and no other permit has it; what is left stays in writing. Permits that hold go before those that ended. Gives
-- how many were found. Numbers may have blanks in them: what stands between commas is tried as a whole first.
CREATE FUNCTION gm.match_permit_spaces(of_project bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
    part text;
    word text;
    ids bigint[];
    rest text[];
    matched bigint := 0;
    of_this bigint;
BEGIN
    FOR one IN SELECT id, project_id, space FROM permit
               WHERE project_id = of_project AND btrim(space) <> '' ORDER BY ended_at IS NOT NULL, id FOR UPDATE LOOP
        rest := '{}';
        of_this := 0;
        FOREACH part IN ARRAY regexp_split_to_array(one.space, '[,;/+&，、；\n]') LOOP
            FOREACH word IN ARRAY
                CASE WHEN EXISTS (SELECT FROM parking_space s JOIN permit_lot l ON l.lot_id = s.lot_id
                                  WHERE l.permit_id = one.id AND lower(s.number) = lower(btrim(part)))
                THEN ARRAY[btrim(part)] ELSE regexp_split_to_array(btrim(part), '\s+') END
            LOOP
                CONTINUE WHEN word = '';
                SELECT array_agg(s.id) INTO ids FROM parking_space s JOIN permit_lot l ON l.lot_id = s.lot_id
                WHERE l.permit_id = one.id AND lower(s.number) = lower(word);
                IF cardinality(ids) = 1 THEN
                    BEGIN
                        INSERT INTO permit_space (project_id, permit_id, space_id, valid)
                        VALUES (one.project_id, one.id, ids[1], gm.permit_time(one.id, now()))
                        ON CONFLICT (permit_id, space_id) DO NOTHING;
                        of_this := of_this + 1;
                        CONTINUE;
                    EXCEPTION WHEN exclusion_violation THEN
                        NULL;  -- another permit has it: people decide
                    END;
                END IF;
                rest := rest || word;
            END LOOP;
        END LOOP;
        IF of_this > 0 THEN
            UPDATE permit SET space = array_to_string(rest, ', ') WHERE id = one.id;
            matched := matched + of_this;
        END IF;
    END LOOP;
    RETURN matched;
END
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_time(bigint, timestamptz), gm.match_permit_spaces(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_time(bigint, timestamptz) TO gatemeter_web, gatemeter_worker;
GRANT EXECUTE ON FUNCTION gm.match_permit_spaces(bigint) TO gatemeter_web, gatemeter_worker;
SELECT gm.match_permit_spaces(id) FROM project ORDER BY id;
