-- Reservations of places in lots, live counts of lots as they are told to displays, and what reports of parking read.

-- How many places of a lot may be reserved, and by which rules. With an empty class: for all that have none of their own.
CREATE TABLE parking_reservation_rule (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id          bigint NOT NULL REFERENCES project,
    lot_id              bigint NOT NULL,
    vehicle_class       text NOT NULL DEFAULT '' CHECK (vehicle_class ~ '^([a-z][a-z0-9-]{0,31})?$'),
    places              int NOT NULL CHECK (places >= 0),
    hold_minutes        int NOT NULL DEFAULT 15 CHECK (hold_minutes BETWEEN 0 AND 1440),
    early_minutes       int NOT NULL DEFAULT 15 CHECK (early_minutes BETWEEN 0 AND 1440),
    no_show_minutes     int CHECK (no_show_minutes BETWEEN 1 AND 10080),
    late_minutes        int NOT NULL DEFAULT 15 CHECK (late_minutes BETWEEN 0 AND 1440),
    free_cancel_minutes int NOT NULL DEFAULT 60 CHECK (free_cancel_minutes BETWEEN 0 AND 10080),
    longest_hours       int NOT NULL DEFAULT 24 CHECK (longest_hours BETWEEN 1 AND 2160),
    ahead_days          int NOT NULL DEFAULT 30 CHECK (ahead_days BETWEEN 1 AND 400),
    of_person           int NOT NULL DEFAULT 2 CHECK (of_person >= 0),
    UNIQUE (lot_id, vehicle_class),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
COMMENT ON COLUMN parking_reservation_rule.hold_minutes IS 'So long before it begins nobody else gets the place.';
COMMENT ON COLUMN parking_reservation_rule.early_minutes IS 'So much earlier the vehicle may come.';
COMMENT ON COLUMN parking_reservation_rule.no_show_minutes IS 'So late it may come; NULL: until the reservation ends.';
COMMENT ON COLUMN parking_reservation_rule.late_minutes IS 'So much longer than reserved it may stay before the place is somebody else''s.';
COMMENT ON COLUMN parking_reservation_rule.free_cancel_minutes IS 'Cancelled so long before it begins or earlier, it is cancelled in time.';
COMMENT ON COLUMN parking_reservation_rule.of_person IS 'Reservations that a resident may have at once; 0: only staff reserve.';
CALL gm.keep_audit('parking_reservation_rule');
CALL gm.guard('parking_reservation_rule', 'true');

CREATE TABLE parking_reservation (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    lot_id        bigint NOT NULL,
    plate         text NOT NULL CHECK (plate <> ''),
    vehicle_class text NOT NULL,
    pool          text NOT NULL,
    slot          int CHECK (slot > 0),
    reserved      tstzrange NOT NULL CHECK (NOT isempty(reserved) AND NOT lower_inf(reserved) AND NOT upper_inf(reserved)),
    taken         tstzrange NOT NULL CHECK (taken @> reserved),
    arrival       tstzrange NOT NULL CHECK (NOT isempty(arrival) AND taken @> arrival),
    free_until    timestamptz NOT NULL,
    state         text NOT NULL DEFAULT 'booked' CHECK (state IN ('booked', 'arrived', 'done', 'no-show', 'cancelled')),
    session_id    bigint,
    person_id     bigint,
    note          text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    booked_by     text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    cancelled_at  timestamptz,
    cancelled_by  text,
    cancel_reason text CHECK (length(cancel_reason) <= 500),
    CHECK ((state = 'cancelled') = (cancelled_at IS NOT NULL) AND (cancelled_at IS NULL) = (cancelled_by IS NULL)),
    CHECK ((state IN ('arrived', 'done')) = (session_id IS NOT NULL)),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    -- Checked at the end of a statement: places may change their numbers among each other.
    CONSTRAINT one_vehicle_a_place EXCLUDE USING gist (lot_id WITH =, pool WITH =, slot WITH =, taken WITH &&)
        WHERE (state IN ('booked', 'arrived')) DEFERRABLE INITIALLY IMMEDIATE,
    CONSTRAINT one_reservation_at_a_time EXCLUDE USING gist (lot_id WITH =, plate WITH =, reserved WITH &&)
        WHERE (state IN ('booked', 'arrived') AND slot IS NOT NULL)
);
COMMENT ON COLUMN parking_reservation.pool IS 'Class of the rule it was made by.';
COMMENT ON COLUMN parking_reservation.slot IS 'The numbered place of its rule; NULL when it came back to life and no number was free any more.';
COMMENT ON COLUMN parking_reservation.taken IS 'Reserved, with the hold before and the grace after.';
COMMENT ON COLUMN parking_reservation.arrival IS 'A stay that begins in it is the one reserved for.';
COMMENT ON COLUMN parking_reservation.session_id IS 'No foreign key: stays may turn out to be one, and then the trigger finds the one that is left.';
CREATE INDEX parking_reservation_of_plate ON parking_reservation (project_id, plate, lot_id);
CREATE INDEX parking_reservation_by_start ON parking_reservation (project_id, (lower(reserved)) DESC, id DESC);
CREATE INDEX parking_reservation_awaited ON parking_reservation (lot_id, (upper(arrival))) WHERE state = 'booked';
CREATE INDEX parking_reservation_of_person ON parking_reservation (person_id) WHERE person_id IS NOT NULL;
CALL gm.keep_audit('parking_reservation');
CALL gm.guard('parking_reservation', 'person_id = ANY ((SELECT gm.persons())::bigint[])');

-- What follows for reservations of these plates from the stays as they are now: the earliest stay that began within the
-- time of arrival is the one reserved for, whatever order its passages came in. Cancelled is cancelled.
CREATE FUNCTION gm.first_stay_of_reservation(r parking_reservation) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.id FROM parking_session s
    WHERE s.project_id = r.project_id AND s.plate = r.plate AND s.lot_id = r.lot_id AND r.arrival @> s.entered_at
    ORDER BY s.entered_at, s.id LIMIT 1
$$;
REVOKE ALL ON FUNCTION gm.first_stay_of_reservation(parking_reservation) FROM PUBLIC;

CREATE FUNCTION gm.settle_reservations(of_project bigint, of_plates text[], at timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH wanted AS (
        SELECT r.id, stay.id AS session_id,
               CASE WHEN stay.id IS NOT NULL THEN CASE WHEN stay.left_at IS NULL THEN 'arrived' ELSE 'done' END
                    WHEN upper(r.arrival) <= at THEN 'no-show' ELSE 'booked' END AS state
        FROM parking_reservation r
        LEFT JOIN LATERAL (
            SELECT s.id, s.left_at FROM parking_session s
            WHERE s.project_id = r.project_id AND s.plate = r.plate AND s.lot_id = r.lot_id AND r.arrival @> s.entered_at
              -- Where two may be meant, the stay is that of the earlier one.
              AND NOT EXISTS (SELECT FROM parking_reservation o
                              WHERE o.project_id = r.project_id AND o.plate = r.plate AND o.lot_id = r.lot_id
                                AND o.state <> 'cancelled' AND (lower(o.reserved), o.id) < (lower(r.reserved), r.id)
                                AND gm.first_stay_of_reservation(o) = s.id)
            ORDER BY s.entered_at, s.id LIMIT 1) AS stay ON true
        WHERE r.project_id = of_project AND r.plate = ANY (of_plates) AND r.state <> 'cancelled')
    UPDATE parking_reservation r SET state = w.state, session_id = w.session_id,
        -- The number may be another's by now; whoever is inside has his place all the same.
        slot = CASE WHEN r.state IN ('booked', 'arrived') THEN r.slot END
    FROM wanted w
    WHERE r.id = w.id AND (r.state, r.session_id) IS DISTINCT FROM (w.state, w.session_id)
$$;
REVOKE ALL ON FUNCTION gm.settle_reservations(bigint, text[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.settle_reservations(bigint, text[], timestamptz) TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- Stays are written by matching, by staff and by corrections: here all of them pass.
CREATE FUNCTION gm.stays_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT c.project_id, array_agg(DISTINCT c.plate) AS plates
        FROM changed c
        WHERE EXISTS (SELECT FROM parking_reservation r WHERE r.project_id = c.project_id AND r.plate = c.plate)
        GROUP BY c.project_id ORDER BY c.project_id
    LOOP
        PERFORM gm.settle_reservations(one.project_id, one.plates, now());
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER reservations_follow_new AFTER INSERT ON parking_session REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gm.stays_changed();
CREATE TRIGGER reservations_follow_was AFTER UPDATE ON parking_session REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gm.stays_changed();
CREATE TRIGGER reservations_follow_is AFTER UPDATE ON parking_session REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gm.stays_changed();
CREATE TRIGGER reservations_follow_gone AFTER DELETE ON parking_session REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION gm.stays_changed();

-- Who is inside, without reading stays that are over: counting is looking at these entries.
CREATE INDEX parking_session_counted ON parking_session (project_id, lot_id, vehicle_class, plate) WHERE state = 'open';
-- Stays by the time they ended and by the time they lasted, for reports.
CREATE INDEX parking_session_ended ON parking_session (project_id, left_at) WHERE left_at IS NOT NULL;

-- Vehicles in each lot and class of some projects. `inside` are the open stays; `elsewhere` those of them that stand in a
-- lot inside this one, which is where they count. Only numbers come out: whoever may know of the project may know them.
CREATE FUNCTION gm.parking_inside(of_projects bigint[])
RETURNS TABLE (project_id bigint, lot_id bigint, vehicle_class text, inside bigint, elsewhere bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH RECURSIVE below AS (
        SELECT l.project_id, l.parent_id AS outer_id, l.id AS inner_id FROM parking_lot l
        WHERE l.parent_id IS NOT NULL AND l.project_id = ANY (of_projects)
        UNION
        SELECT b.project_id, b.outer_id, l.id FROM below b
        JOIN parking_lot l ON l.project_id = b.project_id AND l.parent_id = b.inner_id),
    seen AS (SELECT p.id FROM unnest(of_projects) AS p (id)
             WHERE gm.kind() = 'system' OR p.id = ANY (gm.projects())),
    counted AS (
        SELECT s.project_id, s.lot_id, s.vehicle_class, count(*) AS inside
        FROM seen JOIN parking_session s ON s.project_id = seen.id AND s.state = 'open'
        GROUP BY s.project_id, s.lot_id, s.vehicle_class),
    nested AS (
        SELECT s.project_id, s.lot_id, s.vehicle_class, count(*) AS elsewhere
        FROM parking_session s
        WHERE s.state = 'open' AND s.plate <> '' AND s.lot_id IN (SELECT outer_id FROM below)
          AND s.project_id IN (SELECT id FROM seen)
          AND EXISTS (SELECT FROM below b JOIN parking_session i
                      ON i.lot_id = b.inner_id AND i.plate = s.plate AND i.plate <> '' AND i.state = 'open'
                      WHERE b.outer_id = s.lot_id)
        GROUP BY s.project_id, s.lot_id, s.vehicle_class)
    SELECT c.project_id, c.lot_id, c.vehicle_class, c.inside, coalesce(n.elsewhere, 0)
    FROM counted c LEFT JOIN nested n USING (project_id, lot_id, vehicle_class)
$$;
REVOKE ALL ON FUNCTION gm.parking_inside(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.parking_inside(bigint[]) TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- Reservations whose vehicles are awaited at `at`, by lot and class: places that nobody else gets.
CREATE FUNCTION gm.parking_held(of_projects bigint[], at timestamptz)
RETURNS TABLE (project_id bigint, lot_id bigint, vehicle_class text, held bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT r.project_id, r.lot_id, r.vehicle_class, count(*)
    FROM parking_reservation r
    WHERE r.project_id = ANY (of_projects) AND (gm.kind() = 'system' OR r.project_id = ANY (gm.projects()))
      AND r.state = 'booked' AND lower(r.taken) <= at AND upper(r.arrival) > at
      -- One that is inside already, by an earlier stay, has its space.
      AND NOT EXISTS (SELECT FROM parking_session s WHERE s.lot_id = r.lot_id AND s.plate = r.plate AND s.state = 'open')
    GROUP BY r.project_id, r.lot_id, r.vehicle_class
$$;
REVOKE ALL ON FUNCTION gm.parking_held(bigint[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.parking_held(bigint[], timestamptz) TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- What displays were told of each lot, and when. Follows from stays: no audit entries.
CREATE TABLE parking_count_told (
    lot_id     bigint PRIMARY KEY,
    project_id bigint NOT NULL,
    counts     bytea NOT NULL DEFAULT '',
    told_at    timestamptz NOT NULL DEFAULT '-infinity',
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN parking_count_told.counts IS 'What was published last, without its time.';
CALL gm.guard('parking_count_told');
