-- Notes by hand and re-rating know of each other, what of both is tax, and why a note was refused; what became of
-- money that came for an order that was over.

-- A revision takes back what notes by hand have given of its charge, as far as more would be given than was charged.
ALTER TABLE adjustment
    ADD COLUMN counted money_amount NOT NULL DEFAULT 0,
    ADD COLUMN counted_taxes jsonb NOT NULL DEFAULT '{}';
ALTER TABLE adjustment DROP COLUMN difference;
ALTER TABLE adjustment ADD COLUMN difference money_amount GENERATED ALWAYS AS (amount - old_amount + counted) STORED;
COMMENT ON COLUMN adjustment.counted IS 'What notes by hand have done to the charge already and this revision takes into account: above 0 where they gave.';
COMMENT ON COLUMN adjustment.counted_taxes IS 'What of that is tax, by component.';
-- What comes to nothing and is tax all the same waits for its journal.
CREATE INDEX adjustment_of_tax_alone ON adjustment (project_id, id)
    WHERE difference = 0 AND (taxes <> old_taxes OR counted_taxes <> '{}');

-- A draft that is thrown away leaves this behind: its number was never taken, its lines are gone.
CREATE TABLE note_refusal (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    note_id     bigint NOT NULL,
    account_id  bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('credit_note', 'debit_note')),
    total       money_amount NOT NULL,
    asked_by    bigint,
    asked_for   text NOT NULL,
    refused_by  bigint REFERENCES app_user,
    refused_at  timestamptz NOT NULL DEFAULT now(),
    reason      text NOT NULL CHECK (btrim(reason) <> ''),
    UNIQUE (project_id, id),
    CONSTRAINT refused_once UNIQUE (note_id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON COLUMN note_refusal.asked_for IS 'The reason that the note was asked for with.';
CREATE INDEX note_refusal_of_project ON note_refusal (project_id, id);
CALL gm.write_once('note_refusal');
CALL gm.guard('note_refusal');

-- Residents see no callbacks; whether money of an order of theirs is kept aside ('aside'), or was ('settled'), they do.
CREATE FUNCTION gm.money_set_aside(intent bigint) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT c.state FROM payment_intent i JOIN payment_callback c ON c.intent_id = i.id AND c.state IN ('aside', 'settled')
    WHERE i.id = $1 AND i.project_id = ANY (gm.projects())
      AND (gm.kind() = 'staff' OR (gm.kind() = 'resident' AND i.account_id = ANY (gm.my_accounts())))
    ORDER BY c.state, c.id LIMIT 1
$$;
REVOKE ALL ON FUNCTION gm.money_set_aside FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.money_set_aside TO gatemeter_web, gatemeter_worker;
