-- Shifts at guards' desks, what a desk knows of openings by hand, and pictures of vehicles.

CREATE TABLE parking_shift (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    desk         text NOT NULL CHECK (length(desk) BETWEEN 1 AND 40),
    user_id      bigint NOT NULL REFERENCES app_user,
    guard        text NOT NULL,
    currency     text NOT NULL,
    began_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at     timestamptz CHECK (ended_at >= began_at),
    ended_by     text,
    totals       jsonb,
    note         text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    confirmed_at timestamptz CHECK (confirmed_at >= ended_at),
    confirmed_by bigint REFERENCES app_user CHECK (confirmed_by <> user_id),
    confirmed_name text,
    confirmed_note text NOT NULL DEFAULT '' CHECK (length(confirmed_note) <= 500),
    CHECK ((ended_at IS NULL) = (totals IS NULL) AND (ended_at IS NULL) = (ended_by IS NULL)),
    CHECK ((confirmed_at IS NULL) = (confirmed_by IS NULL) AND (confirmed_at IS NULL) = (confirmed_name IS NULL)),
    UNIQUE (project_id, id)
);
COMMENT ON COLUMN parking_shift.guard IS 'What the person was called then.';
COMMENT ON COLUMN parking_shift.totals IS 'Passages, openings by reason and incidents of the shift, as they were known when it ended.';
CREATE UNIQUE INDEX parking_shift_of_person ON parking_shift (project_id, user_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX parking_shift_at_desk ON parking_shift (project_id, desk) WHERE ended_at IS NULL;
CREATE INDEX parking_shift_by_time ON parking_shift (project_id, id DESC);
CALL gm.keep_audit('parking_shift');
CALL gm.guard('parking_shift');

-- What was handed over stays as it is; the next guard says once whether it is right.
CREATE FUNCTION gm.shift_stays() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.confirmed_at IS NOT NULL OR OLD.ended_at IS NOT NULL AND
       (to_jsonb(NEW) - '{confirmed_at,confirmed_by,confirmed_name,confirmed_note}'::text[]) IS DISTINCT FROM
       (to_jsonb(OLD) - '{confirmed_at,confirmed_by,confirmed_name,confirmed_note}'::text[]) THEN
        RAISE EXCEPTION 'a shift that was handed over is never changed' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON parking_shift FOR EACH ROW EXECUTE FUNCTION gm.shift_stays();

-- What was in the till by method: what the system took and gave back in the shift, and what the guard counted.
CREATE TABLE parking_shift_count (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    shift_id   bigint NOT NULL,
    method     text NOT NULL,
    payments   int NOT NULL CHECK (payments >= 0),
    taken      money_amount NOT NULL CHECK (taken >= 0),
    returned   money_amount NOT NULL CHECK (returned >= 0),
    counted    money_amount NOT NULL CHECK (counted >= 0),
    UNIQUE (shift_id, method),
    FOREIGN KEY (project_id, shift_id) REFERENCES parking_shift (project_id, id)
);
CALL gm.write_once('parking_shift_count');
CALL gm.keep_audit('parking_shift_count');
CALL gm.guard('parking_shift_count');

-- Money for parking is of the shift in which it was taken, whichever page or program took it.
CREATE TABLE parking_shift_payment (
    payment_id bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    shift_id   bigint NOT NULL,
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id),
    FOREIGN KEY (project_id, shift_id) REFERENCES parking_shift (project_id, id)
);
CREATE INDEX parking_shift_payment_of_shift ON parking_shift_payment (shift_id);
CALL gm.write_once('parking_shift_payment');
CALL gm.guard('parking_shift_payment');

-- Who ends a shift locks its row: it waits for payments that are being taken, and those that come later are not of it.
CREATE FUNCTION gm.payment_of_shift() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO parking_shift_payment (payment_id, project_id, shift_id)
    SELECT NEW.id, NEW.project_id, s.id FROM parking_shift s
    WHERE s.project_id = NEW.project_id AND s.user_id = NEW.created_by AND s.ended_at IS NULL
    FOR KEY SHARE;
    RETURN NULL;
END
$$;
CREATE TRIGGER of_shift AFTER INSERT ON payment FOR EACH ROW
    WHEN (NEW.purpose = 'parking' AND NEW.created_by IS NOT NULL) EXECUTE FUNCTION gm.payment_of_shift();

-- Money that the guard gave back by hand, out of the queue of refunds.
CREATE TABLE parking_shift_refund (
    refund_id  bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    shift_id   bigint NOT NULL,
    FOREIGN KEY (project_id, refund_id) REFERENCES payment_refund (project_id, id),
    FOREIGN KEY (project_id, shift_id) REFERENCES parking_shift (project_id, id)
);
CREATE INDEX parking_shift_refund_of_shift ON parking_shift_refund (shift_id);
CALL gm.write_once('parking_shift_refund');
CALL gm.guard('parking_shift_refund');

CREATE FUNCTION gm.refund_of_shift() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO parking_shift_refund (refund_id, project_id, shift_id)
    SELECT NEW.id, NEW.project_id, s.id FROM parking_shift s
    WHERE s.project_id = NEW.project_id AND s.user_id = NEW.decided_by AND s.ended_at IS NULL
    FOR KEY SHARE;
    RETURN NULL;
END
$$;
CREATE TRIGGER of_shift AFTER UPDATE ON payment_refund FOR EACH ROW
    WHEN (NEW.state = 'refunded' AND OLD.state = 'open') EXECUTE FUNCTION gm.refund_of_shift();

-- Openings by hand: why, by the list of reasons; the vehicle that stood there; the shift of who opened.
ALTER TABLE manual_opening
    ADD code       text NOT NULL DEFAULT 'other',
    ADD passage_id uuid REFERENCES passage,
    ADD shift_id   bigint,
    ADD FOREIGN KEY (project_id, shift_id) REFERENCES parking_shift (project_id, id);
COMMENT ON COLUMN manual_opening.reason IS 'In words; the code again where nothing more was said.';
CREATE INDEX manual_opening_of_shift ON manual_opening (shift_id) WHERE shift_id IS NOT NULL;
CREATE INDEX manual_opening_of_passage ON manual_opening (passage_id) WHERE passage_id IS NOT NULL;
CALL gm.write_once('manual_opening');

-- An order to a gateway to send a picture; its link is good once, until it expires.
CREATE TABLE picture_request (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    passage_id uuid NOT NULL REFERENCES passage,
    why        text NOT NULL CHECK (why IN ('waiting', 'incident', 'opened', 'asked')),
    asked_by   text NOT NULL,
    asked_at   timestamptz NOT NULL,
    expires_at timestamptz NOT NULL CHECK (expires_at > asked_at),
    command_id uuid,
    used_at    timestamptz,
    UNIQUE (project_id, id)
);
COMMENT ON COLUMN picture_request.command_id IS 'NULL: the gateway says that it cannot send pictures.';
CREATE INDEX picture_request_of_passage ON picture_request (passage_id, id);
CALL gm.keep_audit('picture_request');
CALL gm.guard('picture_request');

CREATE TABLE passage_picture (
    passage_id uuid PRIMARY KEY REFERENCES passage,
    project_id bigint NOT NULL REFERENCES project,
    content    bytea NOT NULL,
    sha256     bytea NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX passage_picture_by_age ON passage_picture (project_id, stored_at);
CALL gm.guard('passage_picture');

CREATE TABLE picture_policy (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL UNIQUE REFERENCES project,
    kept_days  int NOT NULL CHECK (kept_days BETWEEN 1 AND 3650)
);
COMMENT ON TABLE picture_policy IS 'For how many days pictures of vehicles are kept; a project without a row has the usual time.';
CALL gm.keep_audit('picture_policy');
CALL gm.guard('picture_policy');

CREATE INDEX passage_pictured ON passage (taken_at) WHERE image <> '';
