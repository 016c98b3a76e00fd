-- Numbers of spaces that permits have in writing are matched in a time that grows with what is written, not with every
-- permit times every space: an office with some thousands of both waited for minutes, and its page gave up before.

-- As in 0063, but the spaces that may be meant are found by all that is written, each part as a whole and word by word;
-- and as the owner: under row-level security no number is looked up by its index, because lower() is not leakproof. Whose
-- project it is, is looked at once instead.
CREATE OR REPLACE FUNCTION gm.match_permit_spaces(of_project bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
    part text;
    word text;
    ids bigint[];
    names text[];
    rest text[];
    matched bigint := 0;
    of_this bigint;
BEGIN
    IF NOT (gm.kind() = 'system' OR gm.kind() = 'staff' AND of_project = ANY (gm.projects())) THEN
        RETURN 0;
    END IF;
    PERFORM FROM permit WHERE project_id = of_project AND btrim(space) <> '' ORDER BY id FOR UPDATE;
    SELECT array_agg(DISTINCT lower(name)) INTO names
    FROM (SELECT regexp_split_to_table(space, '[,;/+&，、；\n]') AS piece FROM permit
          WHERE project_id = of_project AND btrim(space) <> '') AS said,
         LATERAL (SELECT btrim(piece) AS name UNION ALL SELECT regexp_split_to_table(btrim(piece), '\s+')) AS named;
    PERFORM FROM parking_space s
    WHERE s.project_id = of_project AND lower(s.number) IN (SELECT unnest(names))
      AND s.lot_id IN (SELECT lot_id FROM permit_lot WHERE project_id = of_project)
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
