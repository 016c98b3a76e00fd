-- Corrections of issued bills: usage that changed late, what it makes of the charges, credit and debit notes.

-- Where usage changed that some charge rests on. Written when usage is derived, taken by the job `billing.re-rate`.
CREATE TABLE late_usage (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    meter_id   bigint NOT NULL,
    from_at    timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    code       text,
    detail     text,
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN late_usage.code IS 'Why it could not be re-rated at the last attempt; NULL: not tried yet.';
CREATE INDEX late_usage_of_project ON late_usage (project_id, meter_id);
CALL gm.guard('late_usage');

-- Nothing of metering knows of bills: what changed after the last charged day of a meter is nobody's correction.
CREATE FUNCTION gm.usage_came_late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    INSERT INTO late_usage (project_id, meter_id, from_at)
    SELECT u.project_id, u.meter_id, min(u.from_at)
    FROM new_rows u JOIN project p ON p.id = u.project_id
    WHERE EXISTS (SELECT FROM charge c WHERE c.meter_id = u.meter_id
                  AND (upper(c.period)::timestamp AT TIME ZONE p.time_zone) > u.from_at)
    GROUP BY u.project_id, u.meter_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER comes_late AFTER INSERT ON store.changed_usage REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.usage_came_late();

-- What a charge should have been by the facts known now. The charge stays; its latest revision is what holds.
CREATE TABLE adjustment (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    account_id     bigint NOT NULL,
    charge_id      bigint NOT NULL,
    revision       int NOT NULL CHECK (revision > 0),
    cause          text NOT NULL CHECK (cause IN ('usage', 'facts')),
    old_quantity   bigint,
    quantity       bigint,
    old_amount     money_amount NOT NULL,
    amount         money_amount NOT NULL,
    difference     money_amount GENERATED ALWAYS AS (amount - old_amount) STORED,
    exact_amount   numeric(30, 14) NOT NULL,
    opening_at     timestamptz,
    opening_value  bigint,
    closing_at     timestamptz,
    closing_value  bigint,
    engine_version text NOT NULL,
    inputs         jsonb NOT NULL,
    lines          jsonb NOT NULL,
    differences    jsonb NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    CONSTRAINT adjusted_once UNIQUE (charge_id, revision),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, charge_id) REFERENCES charge (project_id, id)
);
COMMENT ON COLUMN adjustment.revision IS 'Counts from 1; two re-ratings that start from the same state cannot both be kept.';
COMMENT ON COLUMN adjustment.lines IS 'The lines of the charge as they should be.';
COMMENT ON COLUMN adjustment.differences IS 'The lines by which a bill corrects what was charged so far; they add up to `difference`.';
CREATE INDEX adjustment_of_account ON adjustment (account_id, id);
CREATE INDEX adjustment_of_project ON adjustment (project_id, id DESC);
CALL gm.write_once('adjustment');
CALL gm.guard('adjustment', 'charge_id IN (SELECT id FROM charge)');

-- Billed once by constraint; where the draft goes it is open again.
CREATE TABLE billed_adjustment (
    adjustment_id bigint PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    bill_id       bigint NOT NULL,
    FOREIGN KEY (project_id, adjustment_id) REFERENCES adjustment (project_id, id),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id) ON DELETE CASCADE
);
CREATE INDEX billed_adjustment_of_bill ON billed_adjustment (bill_id);
CREATE TRIGGER of_issued_bill BEFORE INSERT OR UPDATE OR DELETE ON billed_adjustment
    FOR EACH ROW EXECUTE FUNCTION gm.part_of_issued_bill();
CALL gm.guard('billed_adjustment', 'bill_id IN (SELECT id FROM bill)');

-- Notes are bills of another kind: immutable, with lines that add up and a number without holes.
ALTER TABLE bill ADD COLUMN kind text NOT NULL DEFAULT 'bill' CHECK (kind IN ('bill', 'credit_note', 'debit_note')),
    ADD CONSTRAINT credit_is_negative CHECK ((kind = 'credit_note') = (total < 0));
COMMENT ON COLUMN bill.kind IS 'A bill below zero is a credit note.';
CREATE INDEX bill_notes ON bill (project_id, id DESC) WHERE kind <> 'bill';

-- A credit note settles bills as a payment does. What it gives away is its own negative part.
ALTER TABLE payment_allocation
    ADD COLUMN credit_note_id bigint,
    ADD CONSTRAINT payment_allocation_credit_note_id_fkey
        FOREIGN KEY (project_id, credit_note_id) REFERENCES bill (project_id, id),
    ADD CONSTRAINT payment_allocation_credit_note_id_bill_id_key UNIQUE (credit_note_id, bill_id),
    DROP CONSTRAINT of_one_source,
    ADD CONSTRAINT of_one_source CHECK (num_nonnulls(payment_id, set_off_id, credit_note_id) = 1),
    DROP CONSTRAINT payment_allocation_principal_check,
    ADD CONSTRAINT payment_allocation_principal_check CHECK (principal >= 0 OR bill_id = credit_note_id),
    DROP CONSTRAINT payment_allocation_check,
    ADD CONSTRAINT payment_allocation_check CHECK (principal + late_fee > 0 OR bill_id = credit_note_id);

-- A final bill is a run over one account.
ALTER TABLE bill_run ADD COLUMN account_id bigint,
    ADD CONSTRAINT bill_run_account_id_fkey FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id);
COMMENT ON COLUMN bill_run.account_id IS 'The run is the final bill of this account; NULL: all accounts of the project.';
