-- Money of stays: payments of several stays at once, what is owed and what is to be given back, paying without an
-- account; visitor passes and vehicles that residents ask for.

-- Money that came and is nobody's revenue: somebody gives it back or keeps it, and says why.
CREATE TABLE payment_refund (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    payment_id  bigint NOT NULL,
    amount      money_amount NOT NULL CHECK (amount > 0),
    currency    text NOT NULL,
    reason      text NOT NULL CHECK (reason IN ('paid-twice', 'order-over', 'fee-lower', 'stay-gone')),
    subject     text NOT NULL DEFAULT '' CHECK (length(subject) <= 100),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'asked', 'refunded', 'kept')),
    reference   text NOT NULL UNIQUE DEFAULT 'gr' || replace(gen_random_uuid()::text, '-', '')
                CHECK (reference ~ '^[0-9a-z]{6,40}$'),
    method      text,
    provider_id text CHECK (length(provider_id) BETWEEN 1 AND 64),
    failure     text,
    note        text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    decided_by  bigint REFERENCES app_user,
    decided_at  timestamptz,
    done_on     date,
    look_at     timestamptz NOT NULL DEFAULT now(),
    looks       int NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK ((state IN ('refunded', 'kept')) = (done_on IS NOT NULL)),
    CHECK ((state IN ('asked', 'refunded')) = (method IS NOT NULL)),
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id)
);
COMMENT ON TABLE payment_refund IS 'The refund queue: money that was received beyond what was due.';
COMMENT ON COLUMN payment_refund.state IS 'asked: the provider is being asked to give it back.';
COMMENT ON COLUMN payment_refund.subject IS 'What it was paid for, in words for staff: a plate.';
CREATE INDEX payment_refund_of_project ON payment_refund (project_id, id DESC);
CREATE INDEX payment_refund_of_payment ON payment_refund (payment_id);
CREATE INDEX payment_refund_asked ON payment_refund (look_at) WHERE state = 'asked';
CALL gm.keep_audit('payment_refund');
CALL gm.guard('payment_refund');

-- Somebody without an account pays for a stay.
ALTER TABLE payment_intent ALTER COLUMN account_id DROP NOT NULL;
ALTER TABLE payment_intent DROP CONSTRAINT payment_intent_purpose_check;
ALTER TABLE payment_intent ADD CONSTRAINT payment_intent_purpose_check
    CHECK (purpose IN ('bill', 'balance', 'parking') AND (purpose = 'parking') = (account_id IS NULL));

-- How a project takes money for parking.
CREATE TABLE parking_money_policy (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      bigint NOT NULL UNIQUE REFERENCES project,
    debts           text NOT NULL DEFAULT 'collect' CHECK (debts IN ('collect', 'show')),
    tax_percent     numeric(5, 2) NOT NULL DEFAULT 0 CHECK (tax_percent BETWEEN 0 AND 50),
    public_code     text UNIQUE CHECK (public_code ~ '^[0-9a-z]{6,20}$'),
    vehicles        text NOT NULL DEFAULT 'approve' CHECK (vehicles IN ('approve', 'at-once')),
    passes_a_month  int NOT NULL DEFAULT 10 CHECK (passes_a_month BETWEEN 0 AND 1000),
    pass_hours      int NOT NULL DEFAULT 24 CHECK (pass_hours BETWEEN 1 AND 720),
    free_passes     boolean NOT NULL DEFAULT true
);
COMMENT ON COLUMN parking_money_policy.debts IS 'collect: who owes for an earlier stay is let out by itself only once that is paid.';
COMMENT ON COLUMN parking_money_policy.public_code IS 'Where one pays by plate without signing in: /park/<code>. NULL: nowhere.';
CALL gm.keep_audit('parking_money_policy');
CALL gm.guard('parking_money_policy', 'true');

-- One payment may be for several stays. `tax` lies within the amount.
ALTER TABLE parking_payment DROP CONSTRAINT parking_payment_payment_id_key;
ALTER TABLE parking_payment ADD COLUMN tax money_amount NOT NULL DEFAULT 0,
                            ADD COLUMN tax_percent numeric(5, 2) NOT NULL DEFAULT 0,
                            ADD CHECK (tax BETWEEN 0 AND amount);
CREATE INDEX parking_payment_of_payment ON parking_payment (payment_id);

-- Part of a debt that nobody has to pay any more.
CREATE TABLE parking_waiver (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    session_id bigint NOT NULL,
    amount     money_amount NOT NULL CHECK (amount > 0),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    actor      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id)
);
CREATE INDEX parking_waiver_of_session ON parking_waiver (session_id);
CALL gm.keep_audit('parking_waiver');
CALL gm.guard('parking_waiver', 'session_id IN (SELECT id FROM parking_session)');

-- What a stay that is over costs less what was paid and waived; below 0: paid too much. Derived here and nowhere else.
CREATE FUNCTION gm.unpaid(stay bigint, stay_state text, stay_fee numeric) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT CASE WHEN stay_state <> 'closed' OR stay_fee IS NULL THEN 0
                WHEN stay_fee > p.paid THEN greatest(stay_fee - p.paid - w.waived, 0)
                ELSE stay_fee - p.paid END
    FROM (SELECT coalesce(sum(amount), 0) AS paid FROM parking_payment WHERE session_id = stay) p,
         (SELECT coalesce(sum(amount), 0) AS waived FROM parking_waiver WHERE session_id = stay) w
$$;
ALTER TABLE parking_session ADD COLUMN unpaid money_amount NOT NULL DEFAULT 0;
COMMENT ON COLUMN parking_session.unpaid IS 'Above 0: a debt of the plate. Below 0: paid beyond the fee. 0 while the vehicle is inside.';
UPDATE parking_session SET unpaid = gm.unpaid(id, state, fee) WHERE gm.unpaid(id, state, fee) <> 0;
CREATE INDEX parking_session_owing ON parking_session (project_id, plate, id) WHERE unpaid > 0;
CREATE INDEX parking_session_overpaid ON parking_session (project_id, id) WHERE unpaid < 0;

CREATE FUNCTION gm.stay_unpaid() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    NEW.unpaid := gm.unpaid(NEW.id, NEW.state, NEW.fee);
    RETURN NEW;
END
$$;
CREATE TRIGGER unpaid BEFORE INSERT OR UPDATE ON parking_session FOR EACH ROW EXECUTE FUNCTION gm.stay_unpaid();

CREATE FUNCTION gm.money_of_stay() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE parking_session SET unpaid = unpaid WHERE id = OLD.session_id AND state = 'closed';
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE parking_session SET unpaid = unpaid WHERE id = NEW.session_id AND state = 'closed';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER of_stay AFTER INSERT OR UPDATE OR DELETE ON parking_payment
    FOR EACH ROW EXECUTE FUNCTION gm.money_of_stay();
CREATE TRIGGER of_stay AFTER INSERT OR UPDATE OR DELETE ON parking_waiver
    FOR EACH ROW EXECUTE FUNCTION gm.money_of_stay();

-- For which stays an intent is, and up to when each was priced. The stay may turn out to be part of another.
CREATE TABLE parking_intent_stay (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    intent_id  bigint NOT NULL,
    session_id bigint,
    lot_id     bigint NOT NULL,
    plate      text NOT NULL,
    amount     money_amount NOT NULL CHECK (amount > 0),
    paid_until timestamptz NOT NULL,
    FOREIGN KEY (project_id, intent_id) REFERENCES payment_intent (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id) ON DELETE SET NULL (session_id)
);
CREATE INDEX parking_intent_stay_of_intent ON parking_intent_stay (intent_id);
CREATE INDEX parking_intent_stay_of_session ON parking_intent_stay (session_id);
CALL gm.guard('parking_intent_stay');

-- Who pays by plate is nobody we know. What the page may ask: which project its code stands for, and nothing else.
CREATE FUNCTION gm.project_of_public_code(code text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT project_id FROM parking_money_policy WHERE public_code = code
$$;
REVOKE ALL ON FUNCTION gm.project_of_public_code FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.project_of_public_code TO gatemeter_web;

-- A plate that may come in for a time, for nothing or for the ordinary fee.
CREATE TABLE visitor_pass (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    person_id  bigint,
    plate      text NOT NULL CHECK (length(plate) BETWEEN 2 AND 16),
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid)),
    free       boolean NOT NULL,
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 200),
    created_by bigint REFERENCES app_user,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id)
);
COMMENT ON COLUMN visitor_pass.person_id IS 'The resident who gave it; NULL: staff did.';
CREATE INDEX visitor_pass_of_person ON visitor_pass (person_id, id DESC);
CREATE INDEX visitor_pass_of_plate ON visitor_pass (project_id, plate);
CREATE INDEX visitor_pass_by_end ON visitor_pass (project_id, (upper(valid)));
CALL gm.keep_audit('visitor_pass');
CALL gm.guard('visitor_pass', 'person_id = ANY ((SELECT gm.persons())::bigint[])');
CREATE POLICY resident_gives ON visitor_pass FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND person_id = ANY ((SELECT gm.persons())::bigint[]) AND created_by = (SELECT gm.user_id())
                AND revoked_at IS NULL);
CREATE POLICY resident_revokes ON visitor_pass FOR UPDATE TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND person_id = ANY ((SELECT gm.persons())::bigint[]))
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND person_id = ANY ((SELECT gm.persons())::bigint[])
                AND revoked_at IS NOT NULL);

CREATE TABLE visitor_pass_lot (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    pass_id    bigint NOT NULL,
    lot_id     bigint NOT NULL,
    UNIQUE (pass_id, lot_id),
    FOREIGN KEY (project_id, pass_id) REFERENCES visitor_pass (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
CALL gm.write_once('visitor_pass_lot');
CALL gm.guard('visitor_pass_lot', 'pass_id IN (SELECT id FROM visitor_pass)');
CREATE POLICY resident_gives ON visitor_pass_lot FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND pass_id IN (SELECT id FROM visitor_pass));

-- What a pass says is fixed once it is given; it can only be taken back.
CREATE FUNCTION gm.pass_is_fixed() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.revoked_at IS NOT NULL
       OR to_jsonb(OLD) - 'revoked_at' <> to_jsonb(NEW) - 'revoked_at' THEN
        RAISE EXCEPTION 'a visitor pass is fixed once it is given' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER pass_is_fixed BEFORE UPDATE OR DELETE ON visitor_pass
    FOR EACH ROW EXECUTE FUNCTION gm.pass_is_fixed();

-- A vehicle that a resident says is his.
CREATE TABLE vehicle_request (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    person_id     bigint NOT NULL,
    plate         text NOT NULL CHECK (length(plate) BETWEEN 2 AND 16),
    vehicle_class text NOT NULL DEFAULT 'small',
    state         text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'approved', 'rejected')),
    note          text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    asked_by      bigint REFERENCES app_user,
    asked_at      timestamptz NOT NULL DEFAULT now(),
    decided_by    bigint REFERENCES app_user,
    decided_at    timestamptz,
    CHECK ((state = 'asked') = (decided_at IS NULL)),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id)
);
CREATE UNIQUE INDEX vehicle_request_once ON vehicle_request (project_id, person_id, plate) WHERE state = 'asked';
CREATE INDEX vehicle_request_of_project ON vehicle_request (project_id, id DESC);
CALL gm.keep_audit('vehicle_request');
CALL gm.guard('vehicle_request', 'person_id = ANY ((SELECT gm.persons())::bigint[])');
CREATE POLICY resident_asks ON vehicle_request FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND person_id = ANY ((SELECT gm.persons())::bigint[]) AND asked_by = (SELECT gm.user_id())
                AND state = 'asked');
-- Where the project lets residents register by themselves, for the time from now on.
CREATE POLICY resident_registers ON vehicle FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND person_id = ANY ((SELECT gm.persons())::bigint[]) AND lower(valid) >= now() - interval '1 minute'
                AND EXISTS (SELECT FROM parking_money_policy p
                            WHERE p.project_id = vehicle.project_id AND p.vehicles = 'at-once'));
