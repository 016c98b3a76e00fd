-- Agreements to the end: packages, taxes and floor areas by date, charges that are taken back, taxes in the ledger.

ALTER TABLE service_agreement
    ADD COLUMN taken_back_at timestamptz,
    ADD COLUMN taken_back_reason text CHECK (length(taken_back_reason) BETWEEN 1 AND 300),
    DROP CONSTRAINT service_agreement_kind_check,
    ADD CONSTRAINT service_agreement_kind_check CHECK (kind IN ('tariff', 'rent', 'one_off', 'package')),
    DROP CONSTRAINT what_its_kind_needs,
    ADD CONSTRAINT what_its_kind_needs CHECK (
        CASE kind
            WHEN 'tariff' THEN tariff_id IS NOT NULL AND amount IS NULL
            WHEN 'rent' THEN tariff_id IS NULL AND amount IS NULL AND meter_id IS NULL
            WHEN 'package' THEN tariff_id IS NULL AND amount IS NULL AND meter_id IS NULL AND description <> ''
                 AND NOT upper_inf(valid)
            ELSE tariff_id IS NULL AND amount IS NOT NULL AND meter_id IS NULL AND description <> ''
                 AND upper(valid) = lower(valid) + 1
        END),
    ADD CONSTRAINT only_a_one_off_is_taken_back CHECK (
        (taken_back_at IS NULL) = (taken_back_reason IS NULL) AND (taken_back_at IS NULL OR kind = 'one_off'));
COMMENT ON COLUMN service_agreement.kind IS
    'tariff: by a tariff; rent: by rent_term; package: by rent_term, with what it contains; one_off: `amount` once, on its only day.';
COMMENT ON COLUMN service_agreement.description IS
    'What a one-off charge or a package is called on the bill; a note otherwise.';
COMMENT ON COLUMN service_agreement.taken_back_at IS 'A one-off charge that bills had charged already, and that an adjustment gives back.';

ALTER TABLE rent_term
    ADD COLUMN per_area boolean NOT NULL DEFAULT false,
    ADD COLUMN contains text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN rent_term.per_area IS 'The amount of a step is for a square metre.';
COMMENT ON COLUMN rent_term.contains IS 'Services that a package pays for: nothing remains to pay of them while it holds.';

-- Tax on rents, packages and one-off charges. Before the first rate there is none.
CREATE TABLE agreement_tax (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    agreement_id bigint NOT NULL,
    from_day     date NOT NULL,
    percent      numeric(7, 4) NOT NULL CHECK (percent >= 0 AND percent < 100),
    inclusive    boolean NOT NULL,
    UNIQUE (agreement_id, from_day),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id) ON DELETE CASCADE
);
COMMENT ON TABLE agreement_tax IS 'From a day on so many percent, on top of what is agreed or contained in it.';
CALL gm.keep_audit('agreement_tax');
CALL gm.guard('agreement_tax', 'agreement_id IN (SELECT id FROM service_agreement)');

-- Floor area as it is billed, by date: what was filed later may hold from an earlier day.
CREATE TABLE billed_area (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    unit_id    bigint NOT NULL,
    from_day   date NOT NULL,
    area       numeric(12, 2) NOT NULL CHECK (area > 0),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 300),
    created_by bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (unit_id, from_day),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id)
);
COMMENT ON TABLE billed_area IS 'From a day on; before the first that of the unit holds.';
CREATE INDEX billed_area_of_project ON billed_area (project_id, id);
CALL gm.keep_audit('billed_area');
CALL gm.guard('billed_area', 'unit_id IN (SELECT id FROM unit)');

-- What of a charge, and of a correction of it, is tax: the ledger keeps it apart from revenue.
ALTER TABLE charge ADD COLUMN taxes jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN charge.taxes IS 'Amount by component that is tax in what remains to pay, on top or contained.';
ALTER TABLE adjustment
    ADD COLUMN taxes jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN old_taxes jsonb NOT NULL DEFAULT '{}',
    DROP CONSTRAINT adjustment_cause_check,
    ADD CONSTRAINT adjustment_cause_check CHECK (cause IN ('usage', 'facts', 'area', 'terms', 'concession'));
COMMENT ON COLUMN adjustment.taxes IS 'As charge.taxes, by this revision; old_taxes: by what held before.';
