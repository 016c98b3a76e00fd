-- What decides which passages are one stay: the policy of a lot, plates corrected by staff, tickets of vehicles without
-- a plate, repaired times; and what people do about incidents and openings by hand.

-- What holds in a lot beside its fee rule; a lot without a row has the usual policy (cloud/parking/stays/policy.py).
CREATE TABLE parking_lot_policy (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    lot_id     bigint NOT NULL UNIQUE,
    content    jsonb NOT NULL,
    changed_by text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
CALL gm.keep_audit('parking_lot_policy');
CALL gm.guard('parking_lot_policy');

-- A plate with each sign replaced by one of those that look like it; the same as skeleton() in stays/likeness.py.
CREATE FUNCTION gm.plate_skeleton(plate text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT CASE WHEN plate LIKE '#%' THEN plate
                ELSE translate(plate, 'ODQILZSGTBVNF津渝浙湘宁鲁', '0001125678UME沪沪沪沪京晋') END
$$;

ALTER TABLE passage
    ADD plate_told text NOT NULL DEFAULT '',
    ADD corrected_plate text,
    ADD progress smallint NOT NULL DEFAULT 0,
    ADD incident_with uuid,
    ADD follows uuid,
    ADD skeleton text GENERATED ALWAYS AS (gm.plate_skeleton(plate)) STORED;
UPDATE passage SET plate_told = plate,
    progress = 20 * (array_position(ARRAY['arrived', 'refused', 'turned-back', 'passed'], outcome) - 1)
               + CASE WHEN plate = '' THEN 0 ELSE 10 END;
ALTER TABLE passage ADD CONSTRAINT plate_in_use CHECK (plate = corrected_plate);
COMMENT ON COLUMN passage.plate IS 'As it counts: the one that staff said it is, else the one that the gateway told.';
COMMENT ON COLUMN passage.progress IS 'Which of several reports of one passage counts: the one that knows more (stays/reports.py).';
COMMENT ON COLUMN passage.incident_with IS 'The other passage that the incident is about.';
COMMENT ON COLUMN passage.follows IS 'Tailgating: the vehicle that this one followed through one opening.';
CREATE INDEX passage_of_skeleton ON passage (project_id, skeleton, taken_at) INCLUDE (plate) WHERE skeleton <> '';
CREATE INDEX passage_through ON passage (lane_id, outcome_at) WHERE outcome = 'passed';
CREATE INDEX passage_odd ON passage (project_id, taken_at DESC, id) WHERE incident IS NOT NULL OR follows IS NOT NULL;

ALTER TABLE parking_session
    ADD entry_seen boolean NOT NULL DEFAULT true,
    ADD fixed_fee money_amount,
    ADD covered tstzmultirange NOT NULL DEFAULT '{}',
    ADD skeleton text GENERATED ALWAYS AS (gm.plate_skeleton(plate)) STORED;
COMMENT ON COLUMN parking_session.entry_seen IS 'False: first seen at an exit; entered_at is then the time at which it was.';
COMMENT ON COLUMN parking_session.fixed_fee IS 'What leaving costs by the policy of the lot, because no rule can price a stay whose entry nobody saw.';
COMMENT ON COLUMN parking_session.covered IS 'Time that a stay in a lot around or inside this one prices.';
CREATE INDEX parking_session_of_skeleton ON parking_session (project_id, skeleton) WHERE skeleton <> '';

-- What staff say a vehicle's plate is. Part of what is matched: the last one that is not taken back counts.
CREATE TABLE plate_correction (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    passage_id uuid NOT NULL REFERENCES passage,
    plate      text NOT NULL CHECK (plate <> ''),
    reason     text NOT NULL CHECK (reason <> ''),
    made_by    text NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_by  text,
    undone_reason text,
    undone_at  timestamptz,
    CHECK ((undone_at IS NULL) = (undone_by IS NULL) AND (undone_at IS NULL) = (undone_reason IS NULL))
);
CREATE INDEX plate_correction_of_passage ON plate_correction (passage_id, id);
CALL gm.keep_audit('plate_correction');
CALL gm.guard('plate_correction');

-- A ticket stands for the plate of a vehicle without one: '#' and its code are the plate of the passages it is shown at.
CREATE TABLE parking_ticket (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    passage_id uuid NOT NULL UNIQUE REFERENCES passage,
    code       text NOT NULL,
    issued_by  text NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, code)
);
CALL gm.keep_audit('parking_ticket');
CALL gm.guard('parking_ticket');

-- What people did about an incident; nobody has looked at one without a row.
CREATE TABLE incident_handling (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    passage_id uuid NOT NULL REFERENCES passage,
    kind       text NOT NULL,
    state      text NOT NULL CHECK (state IN ('seen', 'resolved')),
    note       text NOT NULL DEFAULT '',
    handled_by text NOT NULL,
    handled_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (passage_id, kind),
    CHECK (state = 'seen' OR note <> '')
);
CALL gm.keep_audit('incident_handling');
CALL gm.guard('incident_handling');

-- Barriers opened by hand. Which vehicle went through is found by time (stays/incident_repository.py).
CREATE TABLE manual_opening (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    lane_id    bigint NOT NULL,
    command_id uuid NOT NULL UNIQUE,
    opened_by  text NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    opened_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, lane_id) REFERENCES parking_lane (project_id, id)
);
CREATE INDEX manual_opening_of_lane ON manual_opening (lane_id, opened_at);
CREATE INDEX manual_opening_by_time ON manual_opening (project_id, opened_at);
CALL gm.keep_audit('manual_opening');
CALL gm.guard('manual_opening');

-- The true time of a passage whose device had an impossible one; it counts however often the passage comes.
CREATE TABLE passage_time_repair (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    passage_id uuid NOT NULL UNIQUE,
    told_at    timestamptz NOT NULL,
    taken_at   timestamptz NOT NULL,
    reason     text NOT NULL CHECK (reason <> ''),
    repaired_by text NOT NULL,
    repaired_at timestamptz NOT NULL DEFAULT now()
);
CALL gm.keep_audit('passage_time_repair');
CALL gm.guard('passage_time_repair');
