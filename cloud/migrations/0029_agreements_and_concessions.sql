-- Agreements without a tariff (rents, one-off charges) and concessions.

ALTER TABLE service_agreement
    ALTER COLUMN tariff_id DROP NOT NULL,
    ADD COLUMN kind text NOT NULL DEFAULT 'tariff' CHECK (kind IN ('tariff', 'rent', 'one_off')),
    ADD COLUMN amount money_amount CHECK (amount > 0),
    ADD COLUMN description text NOT NULL DEFAULT '' CHECK (length(description) <= 300),
    ADD CONSTRAINT what_its_kind_needs CHECK (
        CASE kind
            WHEN 'tariff' THEN tariff_id IS NOT NULL AND amount IS NULL
            WHEN 'rent' THEN tariff_id IS NULL AND amount IS NULL AND meter_id IS NULL
            ELSE tariff_id IS NULL AND amount IS NOT NULL AND meter_id IS NULL AND description <> ''
                 AND upper(valid) = lower(valid) + 1
        END);
COMMENT ON COLUMN service_agreement.kind IS 'tariff: by a tariff; rent: by rent_term; one_off: `amount` once, on its only day.';
COMMENT ON COLUMN service_agreement.amount IS 'Of a one-off charge.';
COMMENT ON COLUMN service_agreement.description IS 'What a one-off charge is for, as the bill says it; a note otherwise.';
-- Few among many that go by a tariff: runs look for them by themselves.
CREATE INDEX service_agreement_without_tariff ON service_agreement (project_id, account_id) WHERE kind <> 'tariff';

-- A rent is agreed for so many months, paid every so many, and rises in steps.
CREATE TABLE rent_term (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    agreement_id bigint NOT NULL UNIQUE,
    per_months   int NOT NULL CHECK (per_months IN (1, 3, 6, 12)),
    every_months int NOT NULL CHECK (every_months IN (1, 3, 6, 12)),
    in_advance   boolean NOT NULL,
    anchor       date NOT NULL,
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN rent_term.per_months IS 'The amount of a step is for so many months.';
COMMENT ON COLUMN rent_term.anchor IS 'Instalments are counted from this day: the first day of the lease or shortly before it.';
CALL gm.keep_audit('rent_term');
CALL gm.guard('rent_term', 'agreement_id IN (SELECT id FROM service_agreement)');

CREATE TABLE rent_step (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    agreement_id bigint NOT NULL REFERENCES rent_term (agreement_id) ON DELETE CASCADE,
    from_day     date NOT NULL,
    amount       money_amount NOT NULL CHECK (amount > 0),
    UNIQUE (agreement_id, from_day),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id) ON DELETE CASCADE
);
CALL gm.keep_audit('rent_step');
CALL gm.guard('rent_step', 'agreement_id IN (SELECT id FROM service_agreement)');

-- Instalments of a lease that begin on or before `through`, as far as they lie in it.
CREATE FUNCTION gm.instalments(valid daterange, anchor date, every_months int, through date)
RETURNS SETOF daterange LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT valid * whole
    FROM generate_series(0, 12 * (extract(year FROM through)::int - extract(year FROM anchor)::int + 1) / every_months) AS n
    CROSS JOIN LATERAL (SELECT daterange((anchor + make_interval(months => every_months * n))::date,
                                         (anchor + make_interval(months => every_months * (n + 1)))::date)) AS one (whole)
    WHERE valid && whole AND lower(valid * whole) <= through
$$;

-- Rents and one-off charges are charged without a version of a tariff; what is charged twice is refused as ever.
ALTER TABLE charge ALTER COLUMN tariff_version_id DROP NOT NULL;

CREATE TABLE concession (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    account_id   bigint,
    agreement_id bigint,
    unit_id      bigint,
    rule         text NOT NULL CHECK (rule IN ('vacancy', 'long_lease', 'subsidy', 'promotion', 'other')),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    kind         text NOT NULL CHECK (kind IN ('percent', 'factor', 'amount')),
    value        numeric(14, 4) NOT NULL,
    services     text[] NOT NULL DEFAULT '{}',
    components   text[] NOT NULL DEFAULT '{}',
    valid        daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    position     int NOT NULL CHECK (position BETWEEN 1 AND 999),
    reason       text NOT NULL CHECK (length(reason) BETWEEN 1 AND 300),
    created_by   bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    approved_by  bigint,
    approved_at  timestamptz,
    approval     text CHECK (length(approval) BETWEEN 1 AND 300),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    CONSTRAINT for_one_thing CHECK (num_nonnulls(account_id, agreement_id, unit_id) = 1),
    CONSTRAINT value_of_its_kind CHECK (
        CASE kind WHEN 'percent' THEN value > 0 AND value <= 100
                  WHEN 'factor' THEN value >= 0 AND value < 1
                  ELSE value > 0 AND value = round(value, 2) END),
    -- Charges of one agreement never overlap: so an amount is never taken off twice.
    CONSTRAINT amount_of_one_agreement CHECK (kind <> 'amount' OR agreement_id IS NOT NULL),
    CONSTRAINT vacancy_with_filed_dates CHECK (rule <> 'vacancy' OR NOT upper_inf(valid)),
    CHECK ((approved_at IS NULL) = (approval IS NULL))
);
COMMENT ON TABLE concession IS 'What is taken off charges, as lines of their own, in the order of `position` and id; only once approved.';
COMMENT ON COLUMN concession.value IS 'percent: taken off; factor: the share still owed; amount: taken off for each calendar month.';
COMMENT ON COLUMN concession.services IS 'What it applies to; empty: everything.';
COMMENT ON COLUMN concession.valid IS 'Filed from and until: a concession without dates does not exist.';
COMMENT ON COLUMN concession.approval IS 'Why it was approved.';
CREATE INDEX concession_of_account ON concession (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX concession_of_agreement ON concession (agreement_id) WHERE agreement_id IS NOT NULL;
CREATE INDEX concession_of_unit ON concession (unit_id) WHERE unit_id IS NOT NULL;
CREATE INDEX concession_of_project ON concession (project_id, id);
CALL gm.keep_audit('concession');
CALL gm.guard('concession', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])
                             OR agreement_id IN (SELECT id FROM service_agreement)');

-- Bills name the concessions they follow from: an approved one is never changed, only ended.
CREATE FUNCTION gm.approved_concession_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.approved_at IS NOT NULL
       AND (TG_OP = 'DELETE' OR to_jsonb(OLD) - 'valid' <> to_jsonb(NEW) - 'valid' OR lower(OLD.valid) <> lower(NEW.valid)) THEN
        RAISE EXCEPTION 'an approved concession is never changed: end it and file another' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER approved_is_final BEFORE UPDATE OR DELETE ON concession FOR EACH ROW EXECUTE FUNCTION gm.approved_concession_is_final();
