-- Tariffs, what is charged by them, bills, payments and the ledger.

CREATE TABLE tariff (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    code       text NOT NULL,
    name       text NOT NULL,
    service    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code)
);
CALL gm.keep_audit('tariff');
CALL gm.guard('tariff', 'true');

-- Published versions never change and never overlap.
CREATE TABLE tariff_version (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    tariff_id    bigint NOT NULL,
    version      int NOT NULL,
    valid        daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    content      jsonb NOT NULL,
    content_hash bytea NOT NULL,
    published_by bigint,
    published_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (tariff_id, version),
    FOREIGN KEY (project_id, tariff_id) REFERENCES tariff (project_id, id),
    CONSTRAINT one_version_a_day EXCLUDE USING gist (tariff_id WITH =, valid WITH &&)
);
-- A successor may end the validity of its predecessor; nothing else may change.
CREATE FUNCTION gm.only_validity_changes() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE' OR to_jsonb(OLD) - 'valid' <> to_jsonb(NEW) - 'valid' OR lower(OLD.valid) <> lower(NEW.valid) THEN
        RAISE EXCEPTION 'a published version is never changed: publish another' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER published BEFORE UPDATE OR DELETE ON tariff_version FOR EACH ROW EXECUTE FUNCTION gm.only_validity_changes();
CALL gm.keep_audit('tariff_version');
CALL gm.guard('tariff_version', 'true');

-- What an account is charged for, by which tariff, measured by which meter, from when to when.
CREATE TABLE service_agreement (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    account_id bigint NOT NULL,
    service    text NOT NULL,
    tariff_id  bigint NOT NULL,
    meter_id   bigint,
    unit_id    bigint,
    valid      daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, tariff_id) REFERENCES tariff (project_id, id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    CONSTRAINT one_payer_per_meter EXCLUDE USING gist (meter_id WITH =, service WITH =, valid WITH &&)
);
CREATE INDEX service_agreement_of_account ON service_agreement (account_id);
CALL gm.keep_audit('service_agreement');
CALL gm.guard('service_agreement', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- Terms of payment of a project, in versions. Without one: due after 15 days, no late fee.
CREATE TABLE billing_policy (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    valid        daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    due_days     int NOT NULL DEFAULT 15 CHECK (due_days BETWEEN 0 AND 365),
    daily_rate   numeric(9, 8) NOT NULL DEFAULT 0 CHECK (daily_rate >= 0),
    grace_days   int NOT NULL DEFAULT 0 CHECK (grace_days BETWEEN 0 AND 365),
    minimum      money_amount NOT NULL DEFAULT 0 CHECK (minimum >= 0),
    cap_share    numeric(7, 4) CHECK (cap_share >= 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_policy_a_day EXCLUDE USING gist (project_id WITH =, valid WITH &&)
);
COMMENT ON COLUMN billing_policy.daily_rate IS 'Late fee per day as a share of the unpaid principal: 0.001 is one per mille.';
COMMENT ON COLUMN billing_policy.cap_share IS 'The late fee is at most this share of the principal of the bill; NULL: no cap.';
CREATE TRIGGER published BEFORE UPDATE OR DELETE ON billing_policy FOR EACH ROW EXECUTE FUNCTION gm.only_validity_changes();
CALL gm.keep_audit('billing_policy');
CALL gm.guard('billing_policy', 'true');

CREATE TABLE bill_run (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    period      daterange NOT NULL CHECK (NOT isempty(period)),
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'preview', 'approved', 'issued', 'failed', 'cancelled')),
    accounts    int NOT NULL DEFAULT 0,
    billed      int NOT NULL DEFAULT 0,
    failed      int NOT NULL DEFAULT 0,
    total       money_amount NOT NULL DEFAULT 0,
    job_id      bigint,
    created_by  bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (project_id, id)
);
CREATE UNIQUE INDEX bill_run_one_at_a_time ON bill_run (project_id) WHERE state = 'running';
CALL gm.keep_audit('bill_run');
CALL gm.guard('bill_run');

-- Accounts a run could not bill, with the reason. The others are billed.
CREATE TABLE bill_run_failure (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    run_id     bigint NOT NULL,
    account_id bigint NOT NULL,
    code       text NOT NULL,
    detail     text NOT NULL,
    UNIQUE (run_id, account_id),
    FOREIGN KEY (project_id, run_id) REFERENCES bill_run (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
CALL gm.guard('bill_run_failure');

-- Next number of a series; taken in the transaction that issues, so there are no holes.
CREATE TABLE number_series (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    series     text NOT NULL,
    next       bigint NOT NULL DEFAULT 1,
    UNIQUE (project_id, series)
);
CALL gm.guard('number_series');

CREATE TABLE bill (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    account_id     bigint NOT NULL,
    run_id         bigint,
    number         text,
    period         daterange NOT NULL CHECK (NOT isempty(period)),
    currency       text NOT NULL,
    total          money_amount NOT NULL,
    issued_on      date,
    due_on         date,
    state          text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'issued', 'paid', 'disputed', 'void')),
    settled_on     date,
    engine_version text NOT NULL,
    inputs         jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, number),
    CHECK (state = 'draft' OR (number IS NOT NULL AND issued_on IS NOT NULL AND due_on IS NOT NULL)),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, run_id) REFERENCES bill_run (project_id, id)
);
COMMENT ON COLUMN bill.inputs IS 'All that the amounts follow from: readings, tariff versions, occupancy facts. Same inputs, same bill.';
CREATE INDEX bill_of_account ON bill (account_id, id DESC);
CREATE INDEX bill_unpaid ON bill (project_id, due_on) WHERE state = 'issued';
CALL gm.keep_audit('bill');
CALL gm.guard('bill', 'state <> ''draft'' AND account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

CREATE FUNCTION gm.issued_bill_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.state = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'DELETE' OR NEW.state = 'draft'
       OR to_jsonb(OLD) - '{state,settled_on}'::text[] <> to_jsonb(NEW) - '{state,settled_on}'::text[] THEN
        RAISE EXCEPTION 'bill % is issued: correct it by an adjustment', OLD.number USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER issued_is_final BEFORE UPDATE OR DELETE ON bill FOR EACH ROW EXECUTE FUNCTION gm.issued_bill_is_final();

-- One service of one agreement over one period. Charging a period twice is impossible, not merely checked.
CREATE TABLE charge (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id        bigint NOT NULL REFERENCES project,
    bill_id           bigint NOT NULL,
    agreement_id      bigint NOT NULL,
    service           text NOT NULL,
    period            daterange NOT NULL CHECK (NOT isempty(period)),
    tariff_version_id bigint NOT NULL,
    meter_id          bigint,
    channel           smallint REFERENCES channel,
    opening_at        timestamptz,
    opening_value     bigint,
    closing_at        timestamptz,
    closing_value     bigint,
    quantity          bigint,
    amount            money_amount NOT NULL,
    exact_amount      numeric(30, 14) NOT NULL,
    UNIQUE (project_id, id),
    CONSTRAINT charged_once UNIQUE (agreement_id, service, period),
    CONSTRAINT periods_do_not_overlap EXCLUDE USING gist (agreement_id WITH =, service WITH =, period WITH &&),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id) ON DELETE CASCADE,
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id),
    FOREIGN KEY (project_id, tariff_version_id) REFERENCES tariff_version (project_id, id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN charge.opening_value IS 'Boundary readings cited by the bill, in the base unit of the channel, before the multiplier.';
COMMENT ON COLUMN charge.exact_amount IS 'The amount before rounding: cumulative rounding carries on from here.';
COMMENT ON COLUMN charge.quantity IS 'Billed usage in the base unit of the channel, multiplier applied.';
CREATE INDEX charge_of_bill ON charge (bill_id);
CREATE INDEX charge_of_meter ON charge (meter_id) WHERE meter_id IS NOT NULL;
CALL gm.guard('charge', 'bill_id IN (SELECT id FROM bill)');

CREATE TABLE bill_line (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    bill_id    bigint NOT NULL,
    charge_id  bigint NOT NULL,
    position   int NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('usage', 'fixed', 'area', 'surcharge', 'tax', 'discount', 'adjustment', 'rounding')),
    service    text NOT NULL,
    component  text NOT NULL,
    tier       int,
    time_period text,
    quantity   numeric(20, 6),
    unit       text,
    price      numeric(18, 8),
    amount     money_amount NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}',
    UNIQUE (bill_id, position),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id) ON DELETE CASCADE,
    FOREIGN KEY (project_id, charge_id) REFERENCES charge (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN bill_line.quantity IS 'In `unit` (kWh, m³, m², day): what a person can multiply with the price.';
CALL gm.guard('bill_line', 'bill_id IN (SELECT id FROM bill)');

CREATE FUNCTION gm.part_of_issued_bill() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    -- Both: a line may be moved neither out of an issued bill nor into one.
    IF EXISTS (SELECT FROM bill WHERE id IN (OLD.bill_id, NEW.bill_id) AND state <> 'draft') THEN
        RAISE EXCEPTION 'the bill is issued: correct it by an adjustment' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER of_issued_bill BEFORE INSERT OR UPDATE OR DELETE ON bill_line FOR EACH ROW EXECUTE FUNCTION gm.part_of_issued_bill();
CREATE TRIGGER of_issued_bill BEFORE INSERT OR UPDATE OR DELETE ON charge FOR EACH ROW EXECUTE FUNCTION gm.part_of_issued_bill();

-- A bill equals its lines, checked by the database when the transaction that issues it commits.
CREATE FUNCTION gm.bill_adds_up() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    lines numeric;
BEGIN
    SELECT coalesce(sum(amount), 0) INTO lines FROM bill_line WHERE bill_id = NEW.id;
    IF NEW.state <> 'draft' AND lines <> NEW.total THEN
        RAISE EXCEPTION 'bill %: lines add up to %, total is %', NEW.number, lines, NEW.total
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER bill_adds_up AFTER INSERT OR UPDATE ON bill DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gm.bill_adds_up();

-- Late fee of one overdue bill, derived again every day until it is settled.
CREATE TABLE late_fee (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    bill_id      bigint NOT NULL UNIQUE,
    through      date NOT NULL,
    amount       money_amount NOT NULL CHECK (amount >= 0),
    rule         jsonb NOT NULL,
    steps        jsonb NOT NULL,
    waived       money_amount NOT NULL DEFAULT 0 CHECK (waived BETWEEN 0 AND amount),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
COMMENT ON COLUMN late_fee.steps IS 'Stretches of days with one principal and one rate: days x principal x rate = part.';
CALL gm.keep_audit('late_fee');
CALL gm.guard('late_fee', 'bill_id IN (SELECT id FROM bill)');

CREATE TABLE payment (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    account_id   bigint,
    purpose      text NOT NULL CHECK (purpose IN ('bill', 'parking', 'balance', 'deposit')),
    method       text NOT NULL,
    amount       money_amount NOT NULL CHECK (amount > 0),
    currency     text NOT NULL,
    paid_on      date NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT now(),
    reference    text NOT NULL DEFAULT '',
    state        text NOT NULL DEFAULT 'settled' CHECK (state IN ('pending', 'settled', 'failed', 'refunded')),
    created_by   bigint,
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
CREATE INDEX payment_of_account ON payment (account_id, id DESC);
CREATE INDEX payment_by_day ON payment (project_id, paid_on);
CALL gm.keep_audit('payment');
CALL gm.guard('payment', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- Which bill a payment settles, and how much of principal and of late fee.
CREATE TABLE payment_allocation (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    payment_id bigint NOT NULL,
    bill_id    bigint NOT NULL,
    paid_on    date NOT NULL,
    principal  money_amount NOT NULL CHECK (principal >= 0),
    late_fee   money_amount NOT NULL DEFAULT 0 CHECK (late_fee >= 0),
    UNIQUE (payment_id, bill_id),
    CHECK (principal + late_fee > 0),
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
CREATE INDEX payment_allocation_of_bill ON payment_allocation (bill_id);
CALL gm.write_once('payment_allocation');
CALL gm.guard('payment_allocation', 'bill_id IN (SELECT id FROM bill)');

-- Double-entry ledger: append-only, every journal sums to zero. Positive is debit, negative credit.
CREATE TABLE journal (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    kind        text NOT NULL,
    booked_on   date NOT NULL,
    source      text NOT NULL,
    source_id   bigint NOT NULL,
    currency    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    CONSTRAINT booked_once UNIQUE (project_id, kind, source, source_id)
);
CREATE TABLE posting (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    journal_id     bigint NOT NULL,
    ledger_account text NOT NULL,
    account_id     bigint,
    amount         money_amount NOT NULL CHECK (amount <> 0),
    FOREIGN KEY (project_id, journal_id) REFERENCES journal (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
CREATE INDEX posting_of_journal ON posting (journal_id);
CREATE INDEX posting_of_account ON posting (account_id) WHERE account_id IS NOT NULL;
CALL gm.write_once('journal');
CALL gm.write_once('posting');
CALL gm.guard('journal');
CALL gm.guard('posting');

CREATE FUNCTION gm.journal_balances() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF (SELECT sum(amount) FROM posting WHERE journal_id = NEW.journal_id) <> 0 THEN
        RAISE EXCEPTION 'journal % does not balance', NEW.journal_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER balances AFTER INSERT ON posting DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gm.journal_balances();
