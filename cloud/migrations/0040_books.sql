-- Balances of closed months, what the proof of held money looks at, currencies that amounts can keep, payments online.

-- A closed month never changes: its sums are stored when it is closed, and a trial balance adds up only the days that no
-- stored month covers. Where the month was opened again, its rows are history: they belong to that closing.
CREATE TABLE ledger_month_balance (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    closing_id     bigint NOT NULL,
    ledger_account text NOT NULL,
    opening        numeric(20, 2) NOT NULL,
    debit          numeric(20, 2) NOT NULL CHECK (debit >= 0),
    credit         numeric(20, 2) NOT NULL CHECK (credit >= 0),
    UNIQUE (closing_id, ledger_account),
    FOREIGN KEY (project_id, closing_id) REFERENCES accounting_month (project_id, id)
);
COMMENT ON COLUMN ledger_month_balance.opening IS 'Debit less credit of everything booked before the month.';
CALL gm.write_once('ledger_month_balance');
CALL gm.guard('ledger_month_balance');
INSERT INTO ledger_month_balance (project_id, closing_id, ledger_account, opening, debit, credit)
SELECT m.project_id, m.id, p.ledger_account,
       coalesce(sum(p.amount) FILTER (WHERE j.booked_on < m.month), 0),
       coalesce(sum(p.amount) FILTER (WHERE j.booked_on >= m.month AND p.amount > 0), 0),
       coalesce(-sum(p.amount) FILTER (WHERE j.booked_on >= m.month AND p.amount < 0), 0)
FROM accounting_month m
JOIN journal j ON j.project_id = m.project_id AND j.booked_on < m.month + interval '1 month'
JOIN posting p ON p.journal_id = j.id
WHERE m.reopened_at IS NULL
GROUP BY m.project_id, m.id, p.ledger_account;

-- Decimals of a currency (ISO 4217), as cloud/kit/money.py. Amounts keep two at most: a project in a currency that needs
-- more is refused.
CREATE OR REPLACE FUNCTION gm.minor_digits(currency text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$
    SELECT CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND',
                          'VUV', 'XAF', 'XOF', 'XPF') THEN 0
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
        WHEN currency IN ('CLF', 'UYW') THEN 4
        ELSE 2 END
$$;
ALTER TABLE project ADD CONSTRAINT currency_fits_amounts CHECK (gm.minor_digits(currency) <= 2);

-- The audit of statements that change thousands of rows. As it was, a row became JSON again for each of its columns
-- (OFFSET 0 keeps the subquery apart, so it is evaluated once), and the plan that a session keeps was made for its first
-- audited statement, of one row: a nested loop over both sides.
CREATE OR REPLACE FUNCTION gm.audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET enable_nestloop = off AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, after)
        SELECT (row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, row ->> 'id', 'insert', row - TG_ARGV[1:]
        FROM (SELECT to_jsonb(n) AS row FROM new_rows n OFFSET 0) AS inserted;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, before, after)
        SELECT (new_row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, new_row ->> 'id', 'update', changed.before, changed.after
        FROM (SELECT to_jsonb(o) AS old_row, to_jsonb(n) AS new_row
              FROM old_rows o JOIN new_rows n ON n.id = o.id OFFSET 0) AS pair
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(key, CASE WHEN key = ANY (TG_ARGV[1:]) THEN '"(kept secret)"'::jsonb ELSE old_row -> key END)
                       AS before,
                   jsonb_object_agg(key, CASE WHEN key = ANY (TG_ARGV[1:]) THEN '"(kept secret)"'::jsonb ELSE value END)
                       AS after
            FROM jsonb_each(new_row) WHERE old_row -> key IS DISTINCT FROM value) AS changed
        WHERE changed.after IS NOT NULL;
    ELSE
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, before)
        SELECT (row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, row ->> 'id', 'delete', row - TG_ARGV[1:]
        FROM (SELECT to_jsonb(o) AS row FROM old_rows o OFFSET 0) AS deleted;
    END IF;
    RETURN NULL;
END
$$;

-- An issued bill is compared as a whole, not rewritten as JSON twice for that: `inputs` is most of it.
CREATE OR REPLACE FUNCTION gm.issued_bill_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.state = 'draft' THEN
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.state <> 'draft' THEN
        OLD.state := NEW.state;
        OLD.settled_on := NEW.settled_on;
        IF OLD *= NEW THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'bill % is issued: correct it by an adjustment', OLD.number USING ERRCODE = 'integrity_constraint_violation';
END
$$;

-- What an issued bill adds up to cannot change any more (issued_is_final, of_issued_bill): it is checked when it is
-- issued, not again when it is paid.
DROP TRIGGER bill_adds_up ON bill;
CREATE CONSTRAINT TRIGGER bill_adds_up AFTER INSERT ON bill DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gm.bill_adds_up();
CREATE CONSTRAINT TRIGGER bill_still_adds_up AFTER UPDATE ON bill DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (OLD.state = 'draft') EXECUTE FUNCTION gm.bill_adds_up();
