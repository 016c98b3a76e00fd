-- Lots that are closed or keep spaces for a class, lanes that are taken out of use, spaces and whose they are, lists.

ALTER TABLE parking_lot ADD COLUMN open boolean NOT NULL DEFAULT true;
COMMENT ON COLUMN parking_lot.open IS 'Whether vehicles may enter. Whoever is inside leaves as ever.';

CREATE TABLE parking_lot_class (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    lot_id        bigint NOT NULL,
    vehicle_class text NOT NULL CHECK (vehicle_class ~ '^[a-z][a-z0-9-]{0,31}$'),
    kept          int NOT NULL DEFAULT 0 CHECK (kept >= 0),
    at_most       int CHECK (at_most >= kept),
    CHECK (kept > 0 OR at_most IS NOT NULL),
    UNIQUE (lot_id, vehicle_class),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
COMMENT ON COLUMN parking_lot_class.kept IS 'Spaces of the lot that only this class may take.';
COMMENT ON COLUMN parking_lot_class.at_most IS 'No more vehicles of this class find room; NULL: as many as the lot has room for.';
CALL gm.keep_audit('parking_lot_class');
CALL gm.guard('parking_lot_class');

-- A barrier is one lane's at a time, and so is a code of a lot. Passages of the time before stay the old lane's.
ALTER TABLE parking_lane ADD COLUMN retired_at timestamptz CHECK (retired_at >= created_at);
ALTER TABLE parking_lane DROP CONSTRAINT parking_lane_device_id_key;
ALTER TABLE parking_lane DROP CONSTRAINT parking_lane_lot_id_code_key;
CREATE UNIQUE INDEX parking_lane_device_in_use ON parking_lane (device_id) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX parking_lane_code_in_use ON parking_lane (lot_id, code) WHERE retired_at IS NULL;
CREATE INDEX parking_lane_of_device ON parking_lane (device_id, id);

CREATE TABLE parking_space (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    lot_id        bigint NOT NULL,
    number        text NOT NULL CHECK (length(number) BETWEEN 1 AND 32),
    place         text NOT NULL DEFAULT '' CHECK (length(place) <= 100),
    vehicle_class text NOT NULL DEFAULT 'small' CHECK (vehicle_class ~ '^[a-z][a-z0-9-]{0,31}$'),
    state         text NOT NULL DEFAULT 'free' CHECK (state IN ('free', 'sold', 'rented', 'reserved', 'out-of-service')),
    note          text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (lot_id, number),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
COMMENT ON COLUMN parking_space.state IS 'As staff stated it; a tenant or owner of the day makes it rented or sold, unless it is out of service.';
CALL gm.keep_audit('parking_space');

CREATE TABLE parking_space_holder (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    space_id   bigint NOT NULL,
    role       text NOT NULL CHECK (role IN ('owner', 'tenant')),
    person_id  bigint,
    unit_id    bigint,
    valid      daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    added_by   text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (person_id IS NOT NULL OR unit_id IS NOT NULL),
    FOREIGN KEY (project_id, space_id) REFERENCES parking_space (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    CONSTRAINT one_holder_a_day EXCLUDE USING gist (space_id WITH =, role WITH =, valid WITH &&)
);
COMMENT ON TABLE parking_space_holder IS 'Whose a space is or was, by local days. Rows are ended, never deleted.';
CREATE INDEX parking_space_holder_of_person ON parking_space_holder (person_id);
CREATE INDEX parking_space_holder_of_unit ON parking_space_holder (unit_id);
CALL gm.keep_audit('parking_space_holder');
CALL gm.guard('parking_space_holder', 'person_id = ANY ((SELECT gm.persons())::bigint[])');
CALL gm.guard('parking_space', 'id IN (SELECT space_id FROM parking_space_holder)');

CREATE TABLE parking_list_entry (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    lot_id      bigint,
    listing     text NOT NULL CHECK (listing IN ('black', 'white')),
    plate       text NOT NULL,
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz CHECK (valid_until > valid_from),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    added_by    text NOT NULL,
    ended_at    timestamptz,
    ended_by    text,
    end_reason  text CHECK (length(end_reason) BETWEEN 1 AND 500),
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL) AND (ended_at IS NULL) = (end_reason IS NULL)),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    -- Ended before it began: it held at no time, and stands in nobody's way.
    CONSTRAINT one_list_at_a_time EXCLUDE USING gist (
        project_id WITH =, (coalesce(lot_id, 0)) WITH =, plate WITH =,
        tstzrange(valid_from, greatest(valid_from, least(valid_until, ended_at, 'infinity'))) WITH &&)
);
COMMENT ON COLUMN parking_list_entry.lot_id IS 'NULL: all lots of the project.';
COMMENT ON TABLE parking_list_entry IS 'Black and white list. Entries are ended, never deleted.';
CREATE INDEX parking_list_entry_of_plate ON parking_list_entry (project_id, plate);
CALL gm.keep_audit('parking_list_entry');
CALL gm.guard('parking_list_entry');
