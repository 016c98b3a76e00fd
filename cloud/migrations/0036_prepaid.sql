-- Prepaid supply: which agreements are paid in advance, what is left, warnings, and cases of switching a supply off.

-- What a project allows. Without a row: no warnings, and nobody is ever switched off.
CREATE TABLE prepaid_policy (
    id                    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id            bigint NOT NULL UNIQUE REFERENCES project,
    warn_amount           money_amount CHECK (warn_amount >= 0),
    warn_days             int CHECK (warn_days BETWEEN 1 AND 365),
    credit                money_amount NOT NULL DEFAULT 0 CHECK (credit >= 0),
    disconnects           boolean NOT NULL DEFAULT false,
    automatic             boolean NOT NULL DEFAULT false,
    arrears_days          int NOT NULL DEFAULT 30 CHECK (arrears_days BETWEEN 0 AND 365),
    notice_days           int NOT NULL DEFAULT 7 CHECK (notice_days BETWEEN 1 AND 90),
    second_notice_minutes int NOT NULL DEFAULT 30 CHECK (second_notice_minutes BETWEEN 1 AND 10080),
    from_hour             int NOT NULL DEFAULT 9 CHECK (from_hour BETWEEN 6 AND 20),
    until_hour            int NOT NULL DEFAULT 16 CHECK (until_hour BETWEEN 7 AND 21 AND until_hour > from_hour),
    before_rest           boolean NOT NULL DEFAULT false,
    seasons               text NOT NULL DEFAULT '' CHECK (length(seasons) <= 200),
    order_minutes         int NOT NULL DEFAULT 10 CHECK (order_minutes BETWEEN 1 AND 60)
);
COMMENT ON COLUMN prepaid_policy.credit IS 'How far below zero a balance may go before a case begins.';
COMMENT ON COLUMN prepaid_policy.automatic IS 'Whether a supply is switched off without a person confirming it.';
COMMENT ON COLUMN prepaid_policy.second_notice_minutes IS 'At least so long before a supply is switched off it is announced again.';
COMMENT ON COLUMN prepaid_policy.seasons IS 'Days of every year on which nobody is switched off: 11-15/03-15, 07-01/08-31.';
COMMENT ON COLUMN prepaid_policy.order_minutes IS 'An order to switch off that no gateway took so long is void.';
CALL gm.keep_audit('prepaid_policy');
CALL gm.guard('prepaid_policy', 'true');

CREATE TABLE prepaid_agreement (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    account_id   bigint NOT NULL,
    agreement_id bigint NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id) ON DELETE CASCADE
);
CREATE INDEX prepaid_agreement_of_account ON prepaid_agreement (account_id);
CALL gm.keep_audit('prepaid_agreement');
CALL gm.guard('prepaid_agreement', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- What holds for one account: more credit for a while, and that nobody may switch it off. Residents see the credit
-- through their position; why somebody is protected is nobody else's business.
CREATE TABLE prepaid_protection (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id      bigint NOT NULL REFERENCES project,
    account_id      bigint NOT NULL UNIQUE,
    kind            text CHECK (kind IN ('medical', 'care', 'other')),
    reason          text NOT NULL DEFAULT '' CHECK (length(reason) <= 500),
    protected_until date,
    credit          money_amount NOT NULL DEFAULT 0 CHECK (credit >= 0),
    credit_until    date,
    CHECK (kind IS NULL OR (reason <> '' AND protected_until IS NOT NULL)),
    CHECK (credit = 0 OR credit_until IS NOT NULL),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON COLUMN prepaid_protection.credit IS 'Emergency credit beyond that of the project, up to and including credit_until.';
CALL gm.keep_audit('prepaid_protection');
CALL gm.guard('prepaid_protection');

-- What is left of an account's balance, valued by the worker and by every payment; never the base of a decision to
-- switch off, which values again.
CREATE TABLE prepaid_position (
    account_id bigint PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    currency   text NOT NULL,
    held       money_amount NOT NULL,
    owed       money_amount NOT NULL,
    accrued    money_amount NOT NULL,
    available  money_amount NOT NULL GENERATED ALWAYS AS (held - owed - accrued) STORED,
    allowance  money_amount NOT NULL DEFAULT 0,
    days_left  int CHECK (days_left >= 0),
    through    date NOT NULL,
    flaw       text NOT NULL DEFAULT '',
    warned_at  timestamptz,
    valued_at  timestamptz NOT NULL,
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON COLUMN prepaid_position.through IS 'Usage is valued up to the start of this day.';
COMMENT ON COLUMN prepaid_position.flaw IS 'Why usage after that could not be valued.';
COMMENT ON COLUMN prepaid_position.warned_at IS 'A low balance was told and has not recovered since.';
CREATE INDEX prepaid_position_of_project ON prepaid_position (project_id, available, account_id);
CALL gm.guard('prepaid_position', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

-- From a balance that is used up to a supply that is off, and back on.
CREATE TABLE supply_case (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint NOT NULL REFERENCES project,
    account_id       bigint NOT NULL,
    agreement_id     bigint NOT NULL,
    state            text NOT NULL DEFAULT 'warned'
                     CHECK (state IN ('warned', 'notified', 'due', 'ordered', 'off', 'reconnecting', 'reconnected', 'cancelled')),
    hold             text NOT NULL DEFAULT '',
    ending           text NOT NULL DEFAULT '',
    opened_on        date NOT NULL,
    opened_at        timestamptz NOT NULL,
    available        money_amount NOT NULL,
    notified_at      timestamptz CHECK (notified_at IS NOT NULL OR state IN ('warned', 'cancelled')),
    second_notice_at timestamptz,
    confirmed_at     timestamptz,
    confirmed_by     bigint REFERENCES app_user,
    cut_id           uuid,
    cuts             int NOT NULL DEFAULT 0,
    off_at           timestamptz,
    restore_id       uuid,
    restores         int NOT NULL DEFAULT 0,
    restoring_since  timestamptz CHECK (restoring_since IS NOT NULL OR state NOT IN ('reconnecting', 'reconnected')),
    alarmed_at       timestamptz,
    closed_at        timestamptz CHECK ((closed_at IS NOT NULL) = (state IN ('reconnected', 'cancelled'))),
    changed_at       timestamptz NOT NULL,
    UNIQUE (project_id, id),
    -- No order without a written notice and a second one.
    CHECK (cut_id IS NULL OR (notified_at IS NOT NULL AND second_notice_at IS NOT NULL)),
    CHECK (state NOT IN ('ordered', 'off', 'reconnecting', 'reconnected') OR cut_id IS NOT NULL),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id),
    FOREIGN KEY (project_id, agreement_id) REFERENCES service_agreement (project_id, id)
);
COMMENT ON COLUMN supply_case.hold IS 'Why it does not go on for now.';
CREATE UNIQUE INDEX supply_case_one_open ON supply_case (agreement_id) WHERE state NOT IN ('reconnected', 'cancelled');
CREATE INDEX supply_case_of_account ON supply_case (account_id, id DESC);
CREATE INDEX supply_case_of_project ON supply_case (project_id, id DESC);
CREATE INDEX supply_case_in_hand ON supply_case (project_id) WHERE state IN ('due', 'ordered', 'off', 'reconnecting');
CALL gm.keep_audit('supply_case');
CALL gm.guard('supply_case', 'account_id = ANY ((SELECT gm.my_accounts())::bigint[])');

CREATE FUNCTION gm.closed_case_is_final() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state IN ('reconnected', 'cancelled') THEN
        RAISE EXCEPTION 'a closed case never changes' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER closed_is_final BEFORE UPDATE OR DELETE ON supply_case FOR EACH ROW EXECUTE FUNCTION gm.closed_case_is_final();

-- What happened in a case, step by step.
CREATE TABLE supply_step (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    case_id    bigint NOT NULL,
    at         timestamptz NOT NULL,
    step       text NOT NULL CHECK (step IN ('opened', 'notice', 'due', 'second-notice', 'confirmed', 'ordered', 'off',
                                             'cut-failed', 'restore-ordered', 'alarm', 'reconnected', 'cancelled')),
    reason     text NOT NULL DEFAULT '',
    detail     text NOT NULL DEFAULT '' CHECK (length(detail) <= 1000),
    command_id uuid,
    made_by    bigint REFERENCES app_user,
    FOREIGN KEY (project_id, case_id) REFERENCES supply_case (project_id, id)
);
CREATE INDEX supply_step_of_case ON supply_step (case_id, id);
CALL gm.write_once('supply_step');
CALL gm.guard('supply_step', 'case_id IN (SELECT id FROM supply_case)');
