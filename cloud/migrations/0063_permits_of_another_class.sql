-- Permits that become those of another class, numbers that are matched without standing in anybody's way, and plates of
-- permits that look like others.

-- The class that a permit was for until a moment. What it is for since the last of them, or always, is in the permit.
CREATE TABLE permit_class (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    permit_id     bigint NOT NULL,
    until         timestamptz NOT NULL,
    vehicle_class text NOT NULL CHECK (length(vehicle_class) <= 32),
    UNIQUE (permit_id, until),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id)
);
COMMENT ON COLUMN permit_class.vehicle_class IS 'As in permit: empty is any.';
COMMENT ON COLUMN permit.vehicle_class IS
    'Only vehicles of this class, as they were taken for at the entry; empty: of any. Before: permit_class.';
CALL gm.keep_audit('permit_class');
CALL gm.guard('permit_class', 'permit_id IN (SELECT id FROM permit)');

DROP FUNCTION gm.permit_terms(bigint, text[], bigint[]);

-- As in 0056, with the classes of before.
CREATE FUNCTION gm.permit_terms(project bigint, plates text[], permits bigint[])
RETURNS TABLE (permit_id bigint, lots bigint[], spaces int, when_freed text, grace_days int, vehicle_class text,
               classes_until timestamptz[], classes text[], ended_at timestamptz, periods tstzmultirange,
               suspended tstzmultirange, plate text, plate_valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT p.id, l.lots, p.spaces, p.when_freed, p.grace_days, p.vehicle_class, c.classes_until, c.classes, p.ended_at,
           d.periods, coalesce(s.suspended, '{}'), t.plate, range_agg(t.valid)
    FROM permit p
    JOIN permit_plate t ON t.permit_id = p.id
    CROSS JOIN LATERAL (SELECT array_agg(lot_id ORDER BY lot_id) AS lots FROM permit_lot WHERE permit_id = p.id) l
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS periods FROM permit_period WHERE permit_id = p.id) d
    CROSS JOIN LATERAL (SELECT range_agg(valid) AS suspended FROM permit_suspension WHERE permit_id = p.id) s
    CROSS JOIN LATERAL (SELECT coalesce(array_agg(o.until ORDER BY o.until), '{}') AS classes_until,
                               coalesce(array_agg(o.vehicle_class ORDER BY o.until), '{}') AS classes
                        FROM permit_class o WHERE o.permit_id = p.id) c
    WHERE p.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND p.id IN (SELECT unnest(permits)
                   UNION SELECT o.permit_id FROM permit_plate o WHERE o.project_id = project AND o.plate = ANY (plates))
    GROUP BY p.id, l.lots, c.classes_until, c.classes, d.periods, s.suspended, t.plate
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]) TO gatemeter_web, gatemeter_worker, gatemeter_ingest;

-- Plates of permits that a camera may take for one of these. For everybody who takes in passages.
CREATE INDEX permit_plate_by_skeleton ON permit_plate (project_id, gm.plate_skeleton(plate));
CREATE FUNCTION gm.permit_plates_like(project bigint, plates text[]) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT DISTINCT t.plate FROM permit_plate t
    WHERE t.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND gm.plate_skeleton(t.plate) IN (SELECT gm.plate_skeleton(one) FROM unnest(plates) AS one)
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_plates_like(bigint, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_plates_like(bigint, text[]) TO gatemeter_web, gatemeter_worker, gatemeter_ingest;

-- As in 0056, but whoever gives a space beside waits, or is waited for, before anything is written: first all permits,
-- then all spaces that may be meant, each in order, as who gives one space of one permit locks them.
CREATE OR REPLACE FUNCTION gm.match_permit_spaces(of_project bigint) RETURNS bigint
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
    PERFORM FROM permit WHERE project_id = of_project AND btrim(space) <> '' ORDER BY id FOR UPDATE;
    PERFORM FROM parking_space s
    WHERE s.project_id = of_project
      AND EXISTS (SELECT FROM permit p JOIN permit_lot l ON l.permit_id = p.id
                  WHERE p.project_id = of_project AND l.lot_id = s.lot_id
                    AND position(lower(s.number) IN lower(p.space)) > 0)
    ORDER BY s.id FOR NO KEY UPDATE;
    FOR one IN SELECT id, project_id, space FROM permit
               WHERE project_id = of_project AND btrim(space) <> '' ORDER BY ended_at IS NOT NULL, id LOOP
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
