-- Permits: who may stand where without paying by the hour, since when and until when, and what monthly cards cost.

-- What is sold: so many months on certain lots.
CREATE TABLE permit_product (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    price         money_amount NOT NULL CHECK (price > 0),
    months_from   text NOT NULL DEFAULT 'sale' CHECK (months_from IN ('sale', 'calendar')),
    most_months   int NOT NULL DEFAULT 12 CHECK (most_months BETWEEN 1 AND 36),
    vehicle_class text NOT NULL DEFAULT '' CHECK (length(vehicle_class) <= 32),
    spaces        int NOT NULL DEFAULT 1 CHECK (spaces BETWEEN 0 AND 50),
    when_freed    text NOT NULL DEFAULT 'never' CHECK (when_freed IN ('never', 'from-then')),
    grace_days    int NOT NULL DEFAULT 0 CHECK (grace_days BETWEEN 0 AND 60),
    remind_days   int NOT NULL DEFAULT 7 CHECK (remind_days BETWEEN 0 AND 60),
    withdrawn_at  timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, name)
);
COMMENT ON COLUMN permit_product.price IS 'For a month.';
COMMENT ON COLUMN permit_product.months_from IS 'sale: months count from the day of sale; calendar: the rest of the month is charged by days, then calendar months.';
COMMENT ON COLUMN permit_product.vehicle_class IS 'What kind of vehicle it is meant for, empty for any: told to who sells it; lanes do not look at it.';
COMMENT ON COLUMN permit_product.withdrawn_at IS 'Not sold any more; what was sold can still be renewed.';
CALL gm.keep_audit('permit_product');
CALL gm.guard('permit_product', 'true');

CREATE TABLE permit_product_lot (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    product_id bigint NOT NULL,
    lot_id     bigint NOT NULL,
    UNIQUE (product_id, lot_id),
    FOREIGN KEY (project_id, product_id) REFERENCES permit_product (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
CALL gm.guard('permit_product_lot', 'true');

CREATE TABLE permit (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    kind         text NOT NULL CHECK (kind IN ('monthly-card', 'owner-space', 'staff', 'vip', 'visitor')),
    product_id   bigint,
    spaces       int NOT NULL CHECK (spaces BETWEEN 0 AND 50),
    when_freed   text NOT NULL CHECK (when_freed IN ('never', 'from-then')),
    grace_days   int NOT NULL CHECK (grace_days BETWEEN 0 AND 60),
    space        text NOT NULL DEFAULT '' CHECK (length(space) <= 200),
    person_id    bigint,
    unit_id      bigint,
    account_id   bigint,
    note         text NOT NULL DEFAULT '' CHECK (length(note) <= 300),
    renews       boolean NOT NULL DEFAULT false,
    created_by   bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    ended_reason text CHECK (length(ended_reason) BETWEEN 1 AND 300),
    UNIQUE (project_id, id),
    CHECK ((ended_at IS NULL) = (ended_reason IS NULL)),
    CONSTRAINT somebody_holds_it CHECK (person_id IS NOT NULL OR unit_id IS NOT NULL OR note <> ''),
    CONSTRAINT cards_have_a_product CHECK ((kind = 'monthly-card') = (product_id IS NOT NULL)),
    CONSTRAINT renewal_is_billed CHECK (NOT renews OR (account_id IS NOT NULL AND product_id IS NOT NULL)),
    FOREIGN KEY (project_id, product_id) REFERENCES permit_product (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON COLUMN permit.spaces IS 'How many of its vehicles may stand at once; 0: each has a space of its own.';
COMMENT ON COLUMN permit.when_freed IS 'A vehicle beyond the spaces pays as a temporary one. never: for its whole stay; from-then: until a space is free.';
COMMENT ON COLUMN permit.space IS 'Numbers of the spaces, as people write them.';
COMMENT ON COLUMN permit.renews IS 'Renewed by a job of the night before it ends, billed to the account.';
COMMENT ON COLUMN permit.ended_at IS 'It holds no longer from here on, without days of grace; may lie ahead.';
CREATE INDEX permit_of_person ON permit (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX permit_of_unit ON permit (unit_id) WHERE unit_id IS NOT NULL;
CREATE INDEX permit_of_account ON permit (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX permit_of_project ON permit (project_id, id DESC);
CALL gm.keep_audit('permit');
CALL gm.guard('permit', 'person_id = ANY ((SELECT gm.persons())::bigint[])
    OR account_id = ANY ((SELECT gm.my_accounts())::bigint[])
    OR EXISTS (SELECT FROM occupancy o JOIN project p ON p.id = o.project_id
               WHERE o.unit_id = permit.unit_id AND o.person_id = ANY ((SELECT gm.persons())::bigint[])
                 AND o.valid @> (now() AT TIME ZONE p.time_zone)::date)');

CREATE TABLE permit_lot (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    lot_id     bigint NOT NULL,
    UNIQUE (permit_id, lot_id),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    FOREIGN KEY (project_id, lot_id) REFERENCES parking_lot (project_id, id)
);
COMMENT ON TABLE permit_lot IS 'Exactly these: a permit of an outer lot holds for no inner one.';
CREATE INDEX permit_lot_of_lot ON permit_lot (lot_id, permit_id);
CALL gm.guard('permit_lot', 'permit_id IN (SELECT id FROM permit)');

CREATE TABLE permit_period (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    paid_by    text NOT NULL CHECK (paid_by IN ('nothing', 'payment', 'bill')),
    amount     money_amount NOT NULL CHECK (amount >= 0),
    payment_id bigint UNIQUE,
    created_by bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    CHECK ((paid_by = 'payment') = (payment_id IS NOT NULL) AND (paid_by = 'nothing') = (amount = 0)),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id),
    CONSTRAINT renewed_once EXCLUDE USING gist (permit_id WITH =, valid WITH &&)
);
COMMENT ON TABLE permit_period IS 'When a permit holds: from its making on, and one more period by every renewal.';
CREATE INDEX permit_period_of_permit ON permit_period (permit_id);
CREATE INDEX permit_period_by_end ON permit_period (project_id, (upper(valid)));
CALL gm.keep_audit('permit_period');
CALL gm.guard('permit_period', 'permit_id IN (SELECT id FROM permit)');

-- The months that were sold, each with its price: whole ones that are not used are given back.
CREATE TABLE permit_month (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    period_id    bigint NOT NULL,
    days         daterange NOT NULL CHECK (NOT isempty(days)),
    amount       money_amount NOT NULL CHECK (amount >= 0),
    agreement_id bigint UNIQUE,
    given_back   boolean NOT NULL DEFAULT false,
    UNIQUE (period_id, days),
    FOREIGN KEY (project_id, period_id) REFERENCES permit_period (project_id, id),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id)
);
COMMENT ON COLUMN permit_month.agreement_id IS 'The one-off charge by which a bill run bills it; NULL when it was paid where it was sold.';
CALL gm.keep_audit('permit_month');
CALL gm.guard('permit_month', 'period_id IN (SELECT id FROM permit_period)');

CREATE TABLE permit_plate (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    plate      text NOT NULL CHECK (length(plate) BETWEEN 1 AND 16),
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    EXCLUDE USING gist (permit_id WITH =, plate WITH =, valid WITH &&)
);
CREATE INDEX permit_plate_of_permit ON permit_plate (permit_id);
CREATE INDEX permit_plate_by_plate ON permit_plate (project_id, plate);
CALL gm.keep_audit('permit_plate');
CALL gm.guard('permit_plate', 'permit_id IN (SELECT id FROM permit)');

CREATE TABLE permit_suspension (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT lower_inf(valid)),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 300),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    EXCLUDE USING gist (permit_id WITH =, valid WITH &&)
);
CREATE INDEX permit_suspension_of_permit ON permit_suspension (permit_id);
CALL gm.keep_audit('permit_suspension');
CALL gm.guard('permit_suspension', 'permit_id IN (SELECT id FROM permit)');

-- One plate stands under one permit at one lot and time. Follows from the tables above: written anew with every change.
CREATE TABLE permit_cover (
    project_id bigint NOT NULL REFERENCES project,
    permit_id  bigint NOT NULL,
    lot_id     bigint NOT NULL,
    plate      text NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid)),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id),
    CONSTRAINT one_permit_for_a_plate EXCLUDE USING gist (lot_id WITH =, plate WITH =, valid WITH &&)
);
CREATE INDEX permit_cover_of_permit ON permit_cover (permit_id);
CALL gm.guard('permit_cover');

-- Money that went out again where a card was paid at the desk.
CREATE TABLE permit_refund (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    permit_id   bigint NOT NULL,
    amount      money_amount NOT NULL CHECK (amount > 0),
    method      text NOT NULL,
    refunded_on date NOT NULL,
    created_by  bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id)
);
CREATE INDEX permit_refund_of_permit ON permit_refund (permit_id);
CALL gm.keep_audit('permit_refund');
CALL gm.guard('permit_refund', 'permit_id IN (SELECT id FROM permit)');

-- What gateways were told, so that a change tells no more than it has to: entries of a permit, and lots of a gateway.
CREATE TABLE permit_told (
    permit_id  bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    entries    int NOT NULL CHECK (entries >= 0),
    FOREIGN KEY (project_id, permit_id) REFERENCES permit (project_id, id)
);
CALL gm.guard('permit_told');
CREATE TABLE permit_gateway (
    gateway_id bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    lot_ids    bigint[] NOT NULL,
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON TABLE permit_gateway IS 'Lots of whose permits a gateway was told whole; when its lanes are of others it is told again.';
CALL gm.guard('permit_gateway');

-- Permits with any of these plates, or these permits, one row a plate. Past row-level security: what a resident's stay
-- costs follows from permits and vehicles that share a space with his, whoever holds them.
CREATE FUNCTION gm.permit_terms(project bigint, plates text[], permits bigint[])
RETURNS TABLE (permit_id bigint, lots bigint[], spaces int, when_freed text, grace_days int, ended_at timestamptz,
               periods tstzmultirange, suspended tstzmultirange, plate text, plate_valid tstzmultirange)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT p.id, l.lots, p.spaces, p.when_freed, p.grace_days, p.ended_at, d.periods, coalesce(s.suspended, '{}'),
           t.plate, range_agg(t.valid)
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
-- Stays of vehicles that touch a time, their entry seen, for the same reason.
CREATE FUNCTION gm.stays_of_plates(project bigint, plates text[], since timestamptz, until timestamptz)
RETURNS TABLE (lot_id bigint, plate text, entered_at timestamptz, left_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT s.lot_id, s.plate, s.entered_at, s.left_at FROM parking_session s
    WHERE s.project_id = project AND (gm.kind() = 'system' OR project = ANY (gm.projects()))
      AND s.plate = ANY (plates) AND s.entered_at <= until AND (s.left_at IS NULL OR s.left_at >= since)
$$;
REVOKE EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.permit_terms(bigint, text[], bigint[]), gm.stays_of_plates(bigint, text[], timestamptz, timestamptz)
    TO gatemeter_web, gatemeter_worker, gatemeter_ingest;
