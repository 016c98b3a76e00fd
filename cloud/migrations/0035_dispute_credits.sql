-- What credit notes have taken off of upheld disputes, plans that hold again after they were broken, and late fees that
-- are given back.

-- A credit note may be smaller than what was upheld: the dispute waits until notes have taken all of it off.
CREATE TABLE dispute_credit (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    dispute_id     bigint NOT NULL,
    credit_note_id bigint NOT NULL,
    credited_on    date NOT NULL,
    amount         money_amount NOT NULL CHECK (amount > 0),
    UNIQUE (dispute_id, credit_note_id),
    FOREIGN KEY (project_id, dispute_id) REFERENCES bill_dispute (project_id, id),
    FOREIGN KEY (project_id, credit_note_id) REFERENCES bill (project_id, id)
);
CREATE INDEX dispute_credit_of_note ON dispute_credit (credit_note_id);
CALL gm.write_once('dispute_credit');
CALL gm.guard('dispute_credit', 'dispute_id IN (SELECT id FROM bill_dispute)');

ALTER TABLE instalment_plan ADD COLUMN reinstated_on date
    CHECK (reinstated_on IS NULL OR starts_on IS NOT NULL);
COMMENT ON COLUMN instalment_plan.reinstated_on IS 'The plan was broken and holds again since; what was late before this day is forgiven.';

-- A waiver of a late fee that is paid gives it back as prepaid balance.
ALTER TABLE late_fee_waiver ADD COLUMN returned money_amount NOT NULL DEFAULT 0
    CHECK (returned >= 0 AND returned <= amount);
COMMENT ON COLUMN late_fee_waiver.returned IS 'The part of the amount that was paid already when it was asked for.';
ALTER TABLE late_fee ADD COLUMN returned money_amount NOT NULL DEFAULT 0 CHECK (returned >= 0 AND returned <= waived);
COMMENT ON COLUMN late_fee.returned IS 'What was paid of it, waived afterwards, and given back as prepaid balance.';
