-- Lots, lanes, passages and the sessions built from them.

CREATE TABLE parking_lot (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    code       text NOT NULL,
    name       text NOT NULL,
    parent_id  bigint,
    capacity   int NOT NULL CHECK (capacity >= 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code),
    FOREIGN KEY (project_id, parent_id) REFERENCES parking_lot (project_id, id)
);
CALL gm.keep_audit('parking_lot');
CALL gm.guard('parking_lot', 'true');

CREATE TABLE parking_lane (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    lot_id     bigint NOT NULL,
    code       text NOT NULL,
    name       text NOT NULL,
    direction  text NOT NULL CHECK (direction IN ('entry', 'exit')),
    device_id  bigint NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (lot_id, code),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    FOREIGN KEY (project_id, device_id) REFERENCES device (project_id, id)
);
CALL gm.keep_audit('parking_lane');
CALL gm.guard('parking_lane');

-- Fee rule of a lot, in versions like a tariff's.
CREATE TABLE parking_rule_version (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    lot_id       bigint NOT NULL,
    version      int NOT NULL,
    valid        daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    content      jsonb NOT NULL,
    content_hash bytea NOT NULL,
    published_by bigint,
    published_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (lot_id, version),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    CONSTRAINT one_rule_a_day EXCLUDE USING gist (lot_id WITH =, valid WITH &&)
);
CREATE TRIGGER published BEFORE UPDATE OR DELETE ON parking_rule_version FOR EACH ROW EXECUTE FUNCTION gm.only_validity_changes();
CALL gm.keep_audit('parking_rule_version');
CALL gm.guard('parking_rule_version', 'true');

CREATE TABLE vehicle (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    plate         text NOT NULL,
    vehicle_class text NOT NULL DEFAULT 'small',
    person_id     bigint NOT NULL,
    valid         tstzrange NOT NULL DEFAULT tstzrange(now(), NULL) CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    EXCLUDE USING gist (project_id WITH =, plate WITH =, valid WITH &&)
);
CREATE INDEX vehicle_of_person ON vehicle (person_id);
CALL gm.keep_audit('vehicle');
CALL gm.guard('vehicle', 'person_id = ANY ((SELECT gm.persons())::bigint[])');

CREATE TABLE parking_session (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    lot_id        bigint NOT NULL,
    plate         text NOT NULL,
    vehicle_class text NOT NULL,
    entered_at    timestamptz,
    left_at       timestamptz CHECK (left_at >= entered_at),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'unmatched')),
    fee           money_amount,
    fee_until     timestamptz,
    fee_steps     jsonb NOT NULL DEFAULT '[]',
    rule_version_id bigint,
    currency      text NOT NULL,
    closed_by     text,
    closed_reason text,
    closed_at     timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL) AND (closed_at IS NULL) = (closed_reason IS NULL)),
    CHECK ((state = 'open') = (left_at IS NULL)),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    FOREIGN KEY (project_id, rule_version_id) REFERENCES parking_rule_version (project_id, id)
);
COMMENT ON COLUMN parking_session.entered_at IS 'NULL when the exit came without an entry: the session is unmatched.';
COMMENT ON COLUMN parking_session.closed_reason IS 'Why staff ended the stay although nobody saw the vehicle leave; what is seen later counts again.';
COMMENT ON COLUMN parking_session.fee IS 'Price of the stay until fee_until by rule_version_id; fee_steps explains it.';
CREATE UNIQUE INDEX parking_session_inside ON parking_session (lot_id, plate) WHERE state = 'open' AND plate <> '';
CREATE INDEX parking_session_of_plate ON parking_session (project_id, plate, entered_at DESC);
CREATE INDEX parking_session_by_time ON parking_session (project_id, (coalesce(entered_at, left_at)) DESC, id DESC);
CALL gm.keep_audit('parking_session');

-- Stays of the vehicles that are the resident's, while they are his.
CREATE FUNCTION gm.my_stay(session_project bigint, session_plate text, at timestamptz) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT EXISTS (SELECT FROM vehicle v WHERE v.project_id = session_project AND v.plate = session_plate
                   AND v.person_id = ANY (gm.persons()) AND v.valid @> at)
$$;
CALL gm.guard('parking_session', 'gm.my_stay(project_id, plate, coalesce(entered_at, left_at))');

CREATE TABLE passage (
    id            uuid PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    lane_id       bigint NOT NULL,
    session_id    bigint,
    plate         text NOT NULL,
    plate_read    text NOT NULL,
    vehicle_class text NOT NULL,
    score         smallint NOT NULL,
    direction     text NOT NULL CHECK (direction IN ('entry', 'exit')),
    taken_at      timestamptz NOT NULL,
    outcome       text NOT NULL CHECK (outcome IN ('arrived', 'passed', 'turned-back', 'refused')),
    outcome_at    timestamptz NOT NULL,
    offline       boolean NOT NULL DEFAULT false,
    decision      text NOT NULL DEFAULT '',
    image         text NOT NULL DEFAULT '',
    incident      text,
    open_command_id uuid,
    received_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, lane_id) REFERENCES parking_lane (project_id, id),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id)
);
COMMENT ON COLUMN passage.open_command_id IS 'The last command that was given to let this vehicle out; another one only where this one expired or failed.';
CREATE INDEX passage_of_lane ON passage (lane_id, taken_at DESC);
CREATE INDEX passage_of_session ON passage (session_id);
CREATE INDEX passage_of_plate ON passage (project_id, plate, taken_at);
CREATE INDEX passage_waiting ON passage (project_id, taken_at) WHERE outcome = 'arrived';
CALL gm.guard('passage', 'session_id IN (SELECT id FROM parking_session)');

-- Passages of lanes that are not set up yet, or stamped with an impossible time.
CREATE TABLE unclaimed_passage (
    id           uuid PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    gateway_code text NOT NULL,
    device_code  text NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('unknown-lane', 'clock')),
    content      jsonb NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now()
);
CALL gm.guard('unclaimed_passage');
GRANT DELETE ON unclaimed_passage TO gatemeter_ingest;
-- A late passage may show that two stays were one.
GRANT DELETE ON parking_session TO gatemeter_ingest;

-- A parking payment names its session; its money lives in payment like any other.
CREATE TABLE parking_payment (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    payment_id bigint NOT NULL UNIQUE,
    session_id bigint NOT NULL,
    amount     money_amount NOT NULL CHECK (amount > 0),
    paid_until timestamptz NOT NULL,
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id)
);
COMMENT ON COLUMN parking_payment.paid_until IS 'The stay up to here was priced when this was paid; leaving is free for the rule''s window after it.';
CREATE INDEX parking_payment_of_session ON parking_payment (session_id);
CALL gm.guard('parking_payment', 'session_id IN (SELECT id FROM parking_session)');
