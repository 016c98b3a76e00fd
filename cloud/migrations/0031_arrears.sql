-- What becomes of bills that are not simply paid: rates by year, disputes, waivers, instalment plans; and money that is
-- held for an account: prepaid balance and deposits.

ALTER TABLE billing_policy
    ADD COLUMN later_rate numeric(9, 8) CHECK (later_rate >= 0),
    ADD COLUMN plan_days int NOT NULL DEFAULT 5 CHECK (plan_days BETWEEN 0 AND 90),
    ADD COLUMN plan_break text NOT NULL DEFAULT 'due-date' CHECK (plan_break IN ('due-date', 'break')),
    ADD COLUMN own_approval boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN billing_policy.later_rate IS 'Late fee per day in calendar years after that of the due date; NULL: daily_rate.';
COMMENT ON COLUMN billing_policy.plan_days IS 'An instalment that is not paid this many days after its date breaks the plan.';
COMMENT ON COLUMN billing_policy.plan_break IS 'Late fees of a broken plan count from the due date of the bills, as if there had been no plan, or from the break.';
COMMENT ON COLUMN billing_policy.own_approval IS 'Whether somebody may approve what he asked for himself.';

-- Somebody says that a bill is wrong. The disputed amount bears no late fee on the days of the dispute.
CREATE TABLE bill_dispute (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    bill_id     bigint NOT NULL,
    amount      money_amount CHECK (amount > 0),
    reason      text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'upheld', 'rejected', 'withdrawn')),
    opened_on   date NOT NULL,
    opened_by   bigint REFERENCES app_user,
    by_resident boolean NOT NULL,
    closed_on   date CHECK ((closed_on IS NULL) = (state = 'open') AND closed_on >= opened_on),
    closed_by   bigint REFERENCES app_user,
    note        text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    upheld      money_amount CHECK (upheld > 0 AND (upheld IS NOT NULL) = (state = 'upheld')),
    credited_on date CHECK (credited_on IS NULL OR (state = 'upheld' AND credited_on >= closed_on)),
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
COMMENT ON COLUMN bill_dispute.amount IS 'What is disputed of the bill; NULL: all of it.';
COMMENT ON COLUMN bill_dispute.upheld IS 'What the bill was too high by: not owed, and to be credited.';
COMMENT ON COLUMN bill_dispute.credited_on IS 'From when on a credit note has lowered the principal of the bill by what was upheld.';
CREATE UNIQUE INDEX bill_dispute_one_open ON bill_dispute (bill_id) WHERE state = 'open';
CREATE INDEX bill_dispute_of_bill ON bill_dispute (bill_id);
CREATE INDEX bill_dispute_of_project ON bill_dispute (project_id, id DESC);
CALL gm.keep_audit('bill_dispute');
CALL gm.guard('bill_dispute', 'bill_id IN (SELECT id FROM bill)');
-- A resident disputes his own bills and may take that back.
CREATE POLICY resident_disputes ON bill_dispute FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND by_resident AND state = 'open' AND opened_by = (SELECT gm.user_id())
                AND bill_id IN (SELECT id FROM bill));
CREATE POLICY resident_withdraws ON bill_dispute FOR UPDATE TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND state = 'open' AND by_resident AND bill_id IN (SELECT id FROM bill))
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND state = 'withdrawn');

CREATE FUNCTION gm.closed_dispute_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE'
       OR to_jsonb(OLD) - '{state,closed_on,closed_by,note,upheld,credited_on}'::text[]
          <> to_jsonb(NEW) - '{state,closed_on,closed_by,note,upheld,credited_on}'::text[]
       OR (OLD.state <> 'open' AND to_jsonb(OLD) - 'credited_on' <> to_jsonb(NEW) - 'credited_on')
       OR (OLD.credited_on IS NOT NULL) THEN
        RAISE EXCEPTION 'a dispute is decided once and its case never changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER closed_is_final BEFORE UPDATE OR DELETE ON bill_dispute FOR EACH ROW EXECUTE FUNCTION gm.closed_dispute_is_final();

-- The state of the bill follows its disputes, whoever opens or closes them: residents may not change bills themselves.
CREATE FUNCTION gm.dispute_marks_bill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    UPDATE bill SET state = CASE WHEN EXISTS (SELECT FROM bill_dispute d WHERE d.bill_id = NEW.bill_id
                                              AND (d.state = 'open' OR (d.state = 'upheld' AND d.credited_on IS NULL)))
                                 THEN 'disputed' ELSE 'issued' END
    WHERE id = NEW.bill_id AND state IN ('issued', 'disputed');
    RETURN NULL;
END
$$;
CREATE TRIGGER marks_bill AFTER INSERT OR UPDATE ON bill_dispute FOR EACH ROW EXECUTE FUNCTION gm.dispute_marks_bill();

DROP INDEX bill_unpaid;
CREATE INDEX bill_unpaid ON bill (project_id, due_on) WHERE state IN ('issued', 'disputed');
CREATE INDEX bill_unpaid_of_account ON bill (account_id) WHERE state IN ('issued', 'disputed');

-- A late fee is waived by two people: one asks, another approves.
CREATE TABLE late_fee_waiver (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    bill_id    bigint NOT NULL,
    amount     money_amount NOT NULL CHECK (amount > 0),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    state      text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'approved', 'rejected')),
    asked_by   bigint REFERENCES app_user,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    decided_by bigint REFERENCES app_user,
    decided_at timestamptz CHECK ((decided_at IS NULL) = (state = 'asked')),
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
CREATE UNIQUE INDEX late_fee_waiver_one_asked ON late_fee_waiver (bill_id) WHERE state = 'asked';
CREATE INDEX late_fee_waiver_of_bill ON late_fee_waiver (bill_id);
CREATE INDEX late_fee_waiver_of_project ON late_fee_waiver (project_id, id DESC);
CALL gm.keep_audit('late_fee_waiver');
CALL gm.guard('late_fee_waiver');

-- Bills of an account paid in parts by dates. While the plan is kept no late fee accrues.
CREATE TABLE instalment_plan (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    account_id bigint NOT NULL,
    currency   text NOT NULL,
    state      text NOT NULL DEFAULT 'asked'
               CHECK (state IN ('asked', 'active', 'kept', 'broken', 'rejected', 'cancelled')),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    total      money_amount NOT NULL CHECK (total > 0),
    late_days  int NOT NULL DEFAULT 0,
    on_break   text NOT NULL DEFAULT 'due-date' CHECK (on_break IN ('due-date', 'break')),
    starts_on  date CHECK ((starts_on IS NULL) = (state IN ('asked', 'rejected'))),
    ended_on   date CHECK ((ended_on IS NULL) = (state IN ('asked', 'active', 'rejected'))),
    asked_by   bigint REFERENCES app_user,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    decided_by bigint REFERENCES app_user,
    decided_at timestamptz,
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON COLUMN instalment_plan.late_days IS 'Terms of the day of approval: so many days an instalment may be late.';
CREATE UNIQUE INDEX instalment_plan_one_of_account ON instalment_plan (account_id) WHERE state IN ('asked', 'active');
CREATE INDEX instalment_plan_of_project ON instalment_plan (project_id, id DESC);
CALL gm.keep_audit('instalment_plan');
CALL gm.guard('instalment_plan', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

CREATE TABLE instalment_plan_bill (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    plan_id    bigint NOT NULL,
    bill_id    bigint NOT NULL,
    principal  money_amount NOT NULL CHECK (principal > 0),
    paid_before money_amount NOT NULL CHECK (paid_before >= 0),
    UNIQUE (plan_id, bill_id),
    FOREIGN KEY (project_id, plan_id) REFERENCES instalment_plan (project_id, id),
    FOREIGN KEY (project_id, bill_id) REFERENCES bill (project_id, id)
);
COMMENT ON COLUMN instalment_plan_bill.paid_before IS 'Principal paid when the plan was made: what is paid beyond it pays instalments.';
CREATE INDEX instalment_plan_bill_of_bill ON instalment_plan_bill (bill_id);
CALL gm.write_once('instalment_plan_bill');
CALL gm.guard('instalment_plan_bill', 'plan_id IN (SELECT id FROM instalment_plan)');

CREATE TABLE instalment (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    plan_id    bigint NOT NULL,
    number     int NOT NULL CHECK (number > 0),
    due_on     date NOT NULL,
    amount     money_amount NOT NULL CHECK (amount > 0),
    UNIQUE (plan_id, number),
    UNIQUE (plan_id, due_on),
    FOREIGN KEY (project_id, plan_id) REFERENCES instalment_plan (project_id, id)
);
CALL gm.write_once('instalment');
CALL gm.guard('instalment', 'plan_id IN (SELECT id FROM instalment_plan)');

-- A plan, its bills and its instalments are the same money; checked when the transaction that writes them commits.
CREATE FUNCTION gm.plan_adds_up() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF NEW.total <> (SELECT coalesce(sum(amount), 0) FROM instalment WHERE plan_id = NEW.id)
       OR NEW.total <> (SELECT coalesce(sum(principal), 0) FROM instalment_plan_bill WHERE plan_id = NEW.id) THEN
        RAISE EXCEPTION 'plan %: instalments and bills do not add up to %', NEW.id, NEW.total
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER plan_adds_up AFTER INSERT OR UPDATE ON instalment_plan DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gm.plan_adds_up();

-- How an account wants its money used. Without a row: its balance pays new bills.
CREATE TABLE account_terms (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    account_id  bigint NOT NULL UNIQUE,
    auto_deduct boolean NOT NULL DEFAULT true,
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
CALL gm.keep_audit('account_terms');
CALL gm.guard('account_terms', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- Money that is held already pays bills: no money comes in.
CREATE TABLE set_off (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    account_id bigint NOT NULL,
    source     text NOT NULL CHECK (source IN ('balance', 'deposit')),
    amount     money_amount NOT NULL CHECK (amount > 0),
    currency   text NOT NULL,
    set_off_on date NOT NULL,
    created_by bigint,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
CREATE INDEX set_off_of_account ON set_off (account_id, id DESC);
CALL gm.write_once('set_off');
CALL gm.guard('set_off', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

ALTER TABLE payment_allocation
    ALTER COLUMN payment_id DROP NOT NULL,
    ADD COLUMN set_off_id bigint,
    ADD CONSTRAINT of_one_source CHECK (num_nonnulls(payment_id, set_off_id) = 1),
    ADD CONSTRAINT payment_allocation_set_off_id_bill_id_key UNIQUE (set_off_id, bill_id),
    ADD CONSTRAINT payment_allocation_project_id_set_off_id_fkey
        FOREIGN KEY (project_id, set_off_id) REFERENCES set_off (project_id, id);

-- What is held for an account is looked up for a whole run of bills at once.
CREATE INDEX posting_held ON posting (account_id) INCLUDE (ledger_account, amount)
    WHERE ledger_account IN ('liability:prepaid', 'liability:deposit');
CREATE POLICY resident_held ON posting FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND account_id = ANY ((SELECT gm.my_accounts())::bigint[])
           AND ledger_account IN ('liability:prepaid', 'liability:deposit'));
CREATE POLICY resident_held ON journal FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND id IN (SELECT journal_id FROM posting));

-- A deposit that was taken, and for what: a liability of its own until it is refunded or set off.
CREATE TABLE deposit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    account_id bigint NOT NULL,
    payment_id bigint NOT NULL UNIQUE,
    subject    text NOT NULL CHECK (length(subject) BETWEEN 1 AND 200),
    amount     money_amount NOT NULL CHECK (amount > 0),
    currency   text NOT NULL,
    taken_on   date NOT NULL,
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, payment_id) REFERENCES payment (project_id, id)
);
CREATE INDEX deposit_of_account ON deposit (account_id, id DESC);
CREATE INDEX deposit_of_project ON deposit (project_id, id DESC);
CALL gm.write_once('deposit');
CALL gm.keep_audit('deposit');
CALL gm.guard('deposit', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- Held money leaves by two people: one asks, another approves.
CREATE TABLE release (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    account_id bigint NOT NULL,
    deposit_id bigint,
    action     text NOT NULL CHECK (action IN ('refund', 'set-off')),
    amount     money_amount NOT NULL CHECK (amount > 0),
    currency   text NOT NULL,
    method     text CHECK ((method IS NOT NULL) = (action = 'refund')),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 1000),
    state      text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'approved', 'rejected')),
    asked_by   bigint REFERENCES app_user,
    asked_at   timestamptz NOT NULL DEFAULT now(),
    decided_by bigint REFERENCES app_user,
    decided_at timestamptz CHECK ((decided_at IS NULL) = (state = 'asked')),
    done_on    date CHECK ((done_on IS NOT NULL) = (state = 'approved')),
    set_off_id bigint,
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    UNIQUE (project_id, id),
    CHECK (action = 'refund' OR deposit_id IS NOT NULL),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, deposit_id) REFERENCES deposit (project_id, id),
    FOREIGN KEY (project_id, set_off_id) REFERENCES set_off (project_id, id)
);
COMMENT ON TABLE release IS 'Refunds of prepaid balances and deposits, and deposits set off against bills.';
COMMENT ON COLUMN release.deposit_id IS 'NULL: of the prepaid balance.';
CREATE INDEX release_of_account ON release (account_id, id DESC);
CREATE INDEX release_of_deposit ON release (deposit_id) WHERE deposit_id IS NOT NULL;
CREATE INDEX release_of_project ON release (project_id, id DESC);
CALL gm.keep_audit('release');
CALL gm.guard('release', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');
