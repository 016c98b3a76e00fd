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

-- Paying online: what somebody means to pay, fixed when he says so; and what the provider says of it.
CREATE TABLE payment_intent (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    account_id  bigint NOT NULL,
    purpose     text NOT NULL CHECK (purpose IN ('bill', 'balance')),
    channel     text NOT NULL CHECK (channel IN ('wechat', 'alipay')),
    mode        text NOT NULL CHECK (mode IN ('code', 'phone')),
    payer_ip    inet,
    reference   text NOT NULL UNIQUE CHECK (reference ~ '^[0-9A-Za-z]{6,32}$'),
    amount      money_amount NOT NULL CHECK (amount > 0),
    currency    text NOT NULL,
    description text NOT NULL CHECK (length(description) BETWEEN 1 AND 100),
    state       text NOT NULL DEFAULT 'created'
                CHECK (state IN ('created', 'pending', 'paid', 'failed', 'expired', 'cancelled')),
    expires_at  timestamptz NOT NULL,
    pay_at      text,
    provider_id text CHECK (length(provider_id) BETWEEN 1 AND 64),
    paid_at     timestamptz,
    payment_id  bigint,
    failure     text,
    cancel_asked boolean NOT NULL DEFAULT false,
    look_at     timestamptz NOT NULL DEFAULT now(),
    looks       int NOT NULL DEFAULT 0,
    created_by  bigint REFERENCES app_user,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (channel, provider_id),
    CHECK ((state = 'paid') = (payment_id IS NOT NULL)),
    CHECK (state <> 'paid' OR (provider_id IS NOT NULL AND paid_at IS NOT NULL)),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id)
);
COMMENT ON TABLE payment_intent IS 'One attempt to pay by a provider. Its amount is what was payable when it was made.';
COMMENT ON COLUMN payment_intent.reference IS 'Ours, at the provider: out_trade_no.';
COMMENT ON COLUMN payment_intent.provider_id IS 'The number of the provider for the money: transaction_id, trade_no.';
COMMENT ON COLUMN payment_intent.pay_at IS 'What the QR code says (code), or where the browser of a phone goes (phone).';
COMMENT ON COLUMN payment_intent.look_at IS 'When the worker looks at it next: places it, asks the provider, closes it.';
CREATE INDEX payment_intent_waiting ON payment_intent (look_at) WHERE state IN ('created', 'pending');
CREATE INDEX payment_intent_of_account ON payment_intent (account_id, id DESC);
CREATE INDEX payment_intent_of_project ON payment_intent (project_id, id DESC);
CALL gm.keep_audit('payment_intent', 'project_id', '{payer_ip}');
CALL gm.guard('payment_intent', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');
-- A resident pays for his own accounts, and may change his mind.
CREATE POLICY resident_pays ON payment_intent FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND account_id = ANY ((SELECT gm.my_accounts())::bigint[]) AND state = 'created'
                AND created_by = (SELECT gm.user_id()) AND payment_id IS NULL AND provider_id IS NULL);
CREATE POLICY resident_cancels ON payment_intent FOR UPDATE TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND account_id = ANY ((SELECT gm.my_accounts())::bigint[])
           AND state IN ('created', 'pending'))
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND cancel_asked AND state IN ('created', 'pending'));

CREATE FUNCTION gm.intent_is_fixed() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    moving text[] := '{state,pay_at,provider_id,paid_at,payment_id,failure,cancel_asked,look_at,looks}';
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state IN ('paid', 'failed', 'expired', 'cancelled')
       OR to_jsonb(OLD) - moving <> to_jsonb(NEW) - moving THEN
        RAISE EXCEPTION 'what was to be paid is fixed, and so is what became of it'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER intent_is_fixed BEFORE UPDATE OR DELETE ON payment_intent
    FOR EACH ROW EXECUTE FUNCTION gm.intent_is_fixed();

-- For which bills, and what was payable of each then.
CREATE TABLE payment_intent_bill (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    intent_id  bigint NOT NULL,
    bill_id    bigint NOT NULL,
    principal  money_amount NOT NULL CHECK (principal >= 0),
    late_fee   money_amount NOT NULL CHECK (late_fee >= 0),
    UNIQUE (intent_id, bill_id),
    CHECK (principal + late_fee > 0),
    FOREIGN KEY (project_id, intent_id) REFERENCES payment_intent (project_id, id),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
CREATE INDEX payment_intent_bill_of_bill ON payment_intent_bill (bill_id);
CALL gm.write_once('payment_intent_bill');
CALL gm.guard('payment_intent_bill', 'intent_id IN (SELECT id FROM payment_intent)');
CREATE POLICY resident_pays ON payment_intent_bill FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND intent_id IN (SELECT id FROM payment_intent) AND bill_id IN (SELECT id FROM bill));

-- What providers told us, each once, its signature verified before it came here.
CREATE TABLE payment_callback (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint REFERENCES project,
    channel     text NOT NULL CHECK (channel IN ('wechat', 'alipay')),
    event_id    text NOT NULL CHECK (length(event_id) BETWEEN 1 AND 200),
    reference   text NOT NULL CHECK (length(reference) BETWEEN 1 AND 64),
    provider_id text NOT NULL CHECK (length(provider_id) BETWEEN 1 AND 64),
    amount      numeric(18, 4) NOT NULL,
    currency    text NOT NULL,
    paid_at     timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    state       text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'used', 'repeated', 'aside', 'settled')),
    reason      text CHECK ((reason IS NOT NULL) = (state IN ('aside', 'settled'))),
    intent_id   bigint REFERENCES payment_intent,
    note        text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    UNIQUE (channel, event_id)
);
COMMENT ON TABLE payment_callback IS 'Money that a provider says was paid. Aside: it fits no intent, somebody has to look.';
COMMENT ON COLUMN payment_callback.project_id IS 'That of the intent; NULL where the reference is nobody''s.';
CREATE INDEX payment_callback_received ON payment_callback (id) WHERE state = 'received';
CREATE INDEX payment_callback_aside ON payment_callback (id DESC) WHERE state = 'aside';
CALL gm.keep_audit('payment_callback');
CALL gm.guard('payment_callback');
-- Whose money it is nobody knows yet: whoever sees callbacks sees these too.
CREATE POLICY staff_unknown ON payment_callback TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND project_id IS NULL)
    WITH CHECK ((SELECT gm.kind()) = 'staff' AND project_id IS NULL);

-- The web process takes callbacks in nobody's name; it may add one and see nothing. Whether it was new.
CREATE FUNCTION gm.keep_callback(channel text, event_id text, reference text, provider_id text, amount numeric,
                                 currency text, paid_at timestamptz) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    WITH made AS (
        INSERT INTO payment_callback (project_id, channel, event_id, reference, provider_id, amount, currency, paid_at)
        VALUES ((SELECT i.project_id FROM payment_intent i WHERE i.reference = $3), $1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT ON CONSTRAINT payment_callback_channel_event_id_key DO NOTHING RETURNING id)
    SELECT EXISTS (SELECT FROM made)
$$;
REVOKE ALL ON FUNCTION gm.keep_callback FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.keep_callback TO gatemeter_web, gatemeter_worker;
