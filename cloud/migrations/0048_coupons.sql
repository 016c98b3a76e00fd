-- Coupons that merchants give to those who park, and what else than time decides what a stay costs.

CREATE TABLE parking_merchant (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    name       text NOT NULL CHECK (name <> ''),
    settlement text NOT NULL CHECK (settlement IN ('balance', 'monthly')),
    contact    text NOT NULL DEFAULT '',
    closed_at  timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, name)
);
COMMENT ON COLUMN parking_merchant.settlement IS 'balance: pays for coupons before they are issued; monthly: afterwards, for those that were used.';
CALL gm.keep_audit('parking_merchant');
CALL gm.guard('parking_merchant');

-- Coupons that are alike, issued together; only withdrawing them changes anything.
CREATE TABLE coupon_batch (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    merchant_id bigint NOT NULL,
    lot_id      bigint,
    kind        text NOT NULL CHECK (kind IN ('hours', 'percentage', 'money', 'free')),
    value       numeric(10, 2) NOT NULL,
    price       money_amount NOT NULL CHECK (price >= 0),
    count       int NOT NULL CHECK (count BETWEEN 1 AND 10000),
    valid       daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid) AND NOT upper_inf(valid)),
    per_plate_and_day int CHECK (per_plate_and_day >= 1),
    stackable   boolean NOT NULL,
    issued_on   date NOT NULL,
    issued_by   text NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,
    CHECK (CASE kind WHEN 'free' THEN value = 0 WHEN 'percentage' THEN value > 0 AND value <= 100 ELSE value > 0 END),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, merchant_id) REFERENCES parking_merchant (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
COMMENT ON COLUMN coupon_batch.price IS 'What the merchant pays for one coupon: when issued or when used, as he settles.';
COMMENT ON COLUMN coupon_batch.lot_id IS 'Only there; NULL in every lot of the project.';
CREATE INDEX coupon_batch_of_merchant ON coupon_batch (merchant_id, id DESC);
CREATE FUNCTION gm.issued_coupons_stay() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.withdrawn_at IS NULL
       AND (to_jsonb(OLD) - 'withdrawn_at') = (to_jsonb(NEW) - 'withdrawn_at') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'coupons that are issued can only be withdrawn' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER issued BEFORE UPDATE OR DELETE ON coupon_batch FOR EACH ROW EXECUTE FUNCTION gm.issued_coupons_stay();
CALL gm.keep_audit('coupon_batch');
CALL gm.guard('coupon_batch');

CREATE TABLE coupon (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    batch_id   bigint NOT NULL,
    code       text NOT NULL CHECK (code <> ''),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code),
    FOREIGN KEY (project_id, batch_id) REFERENCES coupon_batch (project_id, id)
);
CREATE INDEX coupon_of_batch ON coupon (batch_id, id);
CALL gm.write_once('coupon');
CALL gm.guard('coupon');

-- A coupon handed in for a stay, once: what it was worth is kept with it, so that the stay explains itself.
CREATE TABLE coupon_redemption (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    coupon_id   bigint NOT NULL UNIQUE,
    project_id  bigint NOT NULL REFERENCES project,
    session_id  bigint NOT NULL,
    merchant_id bigint NOT NULL,
    batch_id    bigint NOT NULL,
    code        text NOT NULL,
    kind        text NOT NULL,
    value       numeric(10, 2) NOT NULL,
    stackable   boolean NOT NULL,
    plate       text NOT NULL,
    redeemed_on date NOT NULL,
    redeemed_by text NOT NULL,
    redeemed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, coupon_id) REFERENCES coupon (project_id, id),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id),
    FOREIGN KEY (project_id, merchant_id) REFERENCES parking_merchant (project_id, id),
    FOREIGN KEY (project_id, batch_id) REFERENCES coupon_batch (project_id, id)
);
CREATE INDEX coupon_redemption_of_session ON coupon_redemption (session_id);
CREATE INDEX coupon_redemption_of_plate ON coupon_redemption (project_id, plate, redeemed_on);
CREATE INDEX coupon_redemption_of_merchant ON coupon_redemption (merchant_id, redeemed_on);
-- A late passage may show that two stays were one: the coupon goes with it, and nothing else of it changes.
CREATE FUNCTION gm.redeemed_once() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'UPDATE' AND (to_jsonb(OLD) - 'session_id') = (to_jsonb(NEW) - 'session_id') THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a coupon that was handed in stays so' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER redeemed BEFORE UPDATE OR DELETE ON coupon_redemption FOR EACH ROW EXECUTE FUNCTION gm.redeemed_once();
CALL gm.keep_audit('coupon_redemption');
CALL gm.guard('coupon_redemption', 'session_id IN (SELECT id FROM parking_session)');

-- A merchant's payment for coupons; its money lives in payment like any other.
CREATE TABLE merchant_payment (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    payment_id  bigint NOT NULL UNIQUE,
    merchant_id bigint NOT NULL,
    amount      money_amount NOT NULL CHECK (amount > 0),
    paid_on     date NOT NULL,
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id),
    FOREIGN KEY (project_id, merchant_id) REFERENCES parking_merchant (project_id, id)
);
CREATE INDEX merchant_payment_of_merchant ON merchant_payment (merchant_id, paid_on);
CALL gm.write_once('merchant_payment');
CALL gm.guard('merchant_payment');

-- What vehicles were charged during a stay, as staff or a charging system says; rules may give free time for it.
CREATE TABLE vehicle_charging (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    session_id bigint NOT NULL,
    kwh        numeric(9, 3) NOT NULL CHECK (kwh >= 0),
    minutes    int NOT NULL CHECK (minutes BETWEEN 0 AND 20000),
    entered_by text NOT NULL,
    entered_at timestamptz NOT NULL DEFAULT now(),
    CHECK (kwh > 0 OR minutes > 0),
    FOREIGN KEY (project_id, session_id) REFERENCES parking_session (project_id, id)
);
CREATE INDEX vehicle_charging_of_session ON vehicle_charging (session_id);
CALL gm.keep_audit('vehicle_charging');
CALL gm.guard('vehicle_charging', 'session_id IN (SELECT id FROM parking_session)');
