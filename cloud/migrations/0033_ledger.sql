-- The ledger for accountants: nothing in it ever changes, months are closed, proofs are kept, vouchers are exported.

-- Holes closed. The owner's own roles could still empty or unbalance it: these hold for everybody, also in a replica's
-- session (ENABLE ALWAYS), and look past row-level security (SECURITY DEFINER).
REVOKE UPDATE, DELETE, TRUNCATE ON journal, posting FROM gatemeter_web, gatemeter_worker, gatemeter_ingest;
REVOKE INSERT ON journal, posting FROM gatemeter_ingest;
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON journal FOR EACH STATEMENT EXECUTE FUNCTION gm.refuse_change();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON posting FOR EACH STATEMENT EXECUTE FUNCTION gm.refuse_change();

ALTER TABLE journal
    ADD COLUMN occurred_on date,
    ADD COLUMN made_in xid8;
COMMENT ON COLUMN journal.booked_on IS 'Accounting day: that of the event, or the first open day where its month is closed.';
COMMENT ON COLUMN journal.occurred_on IS 'Day of the event itself; NULL in journals older than this column: the accounting day.';
COMMENT ON COLUMN journal.made_in IS 'The transaction that wrote the journal: only it may add postings.';
CREATE INDEX journal_by_day ON journal (project_id, booked_on, id);

-- Decimals of a currency (ISO 4217), as cloud/kit/money.py; the domain of amounts keeps two at most.
CREATE FUNCTION gm.minor_digits(currency text) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN currency IN ('JPY', 'KRW', 'VND', 'CLP') THEN 0 ELSE 2 END $$;

CREATE FUNCTION gm.journal_made() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    NEW.made_in := pg_current_xact_id();
    RETURN NEW;
END
$$;
CREATE TRIGGER made BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION gm.journal_made();

-- A month of accounts that is closed: nothing is booked into it or before it until it is opened again.
CREATE TABLE accounting_month (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    month        date NOT NULL CHECK (extract(day FROM month) = 1),
    closed_by    bigint,
    closed_at    timestamptz NOT NULL DEFAULT now(),
    reopened_by  bigint,
    reopened_at  timestamptz,
    reopening_reason text CHECK (length(reopening_reason) BETWEEN 1 AND 500),
    CHECK ((reopened_at IS NULL) = (reopening_reason IS NULL)),
    UNIQUE (project_id, id)
);
COMMENT ON TABLE accounting_month IS 'One row for each closing; a month that was opened again and closed again has two.';
CREATE UNIQUE INDEX accounting_month_closed_once ON accounting_month (project_id, month) WHERE reopened_at IS NULL;
CALL gm.keep_audit('accounting_month');
CALL gm.guard('accounting_month');

CREATE FUNCTION gm.only_reopening() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.reopened_at IS NOT NULL
       OR to_jsonb(OLD) - '{reopened_by,reopened_at,reopening_reason}'::text[]
          <> to_jsonb(NEW) - '{reopened_by,reopened_at,reopening_reason}'::text[] THEN
        RAISE EXCEPTION 'a closing is kept: open the month again instead' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER closing_is_kept BEFORE UPDATE OR DELETE ON accounting_month
    FOR EACH ROW EXECUTE FUNCTION gm.only_reopening();

-- Whoever books holds this shared, whoever closes or opens a month holds it alone.
CREATE FUNCTION gm.accounting_lock(project bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT 0x676D1F0000000000 + project $$;

CREATE FUNCTION gm.journal_allowed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    wrong record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(gm.accounting_lock(p.project_id))
    FROM (SELECT DISTINCT project_id FROM new_rows ORDER BY project_id) AS p;
    SELECT n.kind, n.currency, p.currency AS expected INTO wrong
    FROM new_rows n JOIN project p ON p.id = n.project_id WHERE n.currency <> p.currency LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'a journal in %, the project keeps its accounts in %', wrong.currency, wrong.expected
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT n.booked_on, m.month INTO wrong
    FROM new_rows n JOIN accounting_month m ON m.project_id = n.project_id AND m.reopened_at IS NULL
    WHERE n.booked_on < m.month + interval '1 month' ORDER BY m.month DESC LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'the accounts are closed up to %: nothing is booked on %', to_char(wrong.month, 'YYYY-MM'),
            wrong.booked_on USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER allowed AFTER INSERT ON journal REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.journal_allowed();

-- A journal's postings come in the transaction of the journal, and every statement that writes some is balanced by
-- itself: one look at each statement, instead of one at each posting, and nothing that could be put off.
CREATE FUNCTION gm.posting_allowed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    wrong record;
BEGIN
    SELECT n.journal_id, j.currency, n.amount, j.made_in IS DISTINCT FROM pg_current_xact_id() AS late, n.digits
    INTO wrong
    FROM (SELECT journal_id, sum(amount) AS amount, max(scale(trim_scale(amount))) AS digits
          FROM new_rows GROUP BY journal_id) AS n
    JOIN journal j ON j.id = n.journal_id
    WHERE j.made_in IS DISTINCT FROM pg_current_xact_id() OR n.amount <> 0
       OR n.digits > gm.minor_digits(j.currency) LIMIT 1;
    IF NOT FOUND THEN
        RETURN NULL;
    ELSIF wrong.late THEN
        RAISE EXCEPTION 'journal % is booked: correct it by another journal', wrong.journal_id
            USING ERRCODE = 'integrity_constraint_violation';
    ELSIF wrong.amount <> 0 THEN
        RAISE EXCEPTION 'journal % does not balance', wrong.journal_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RAISE EXCEPTION 'an amount of journal % has more decimals than % has', wrong.journal_id, wrong.currency
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER allowed AFTER INSERT ON posting REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.posting_allowed();
DROP TRIGGER balances ON posting;
DROP FUNCTION gm.journal_balances();

CREATE FUNCTION gm.journal_has_postings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF NOT EXISTS (SELECT FROM posting WHERE journal_id = NEW.id) THEN
        RAISE EXCEPTION 'journal % has no postings', NEW.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER has_postings AFTER INSERT ON journal DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION gm.journal_has_postings();

ALTER TABLE journal
    ENABLE ALWAYS TRIGGER write_once, ENABLE ALWAYS TRIGGER never_emptied, ENABLE ALWAYS TRIGGER made,
    ENABLE ALWAYS TRIGGER allowed, ENABLE ALWAYS TRIGGER has_postings;
ALTER TABLE posting
    ENABLE ALWAYS TRIGGER write_once, ENABLE ALWAYS TRIGGER never_emptied,
    ENABLE ALWAYS TRIGGER allowed;

-- The number and name that an account of ours has in the accounting software of the project, where they are not the usual.
CREATE TABLE ledger_account (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    code          text NOT NULL CHECK (length(code) BETWEEN 1 AND 100),
    external_code text NOT NULL CHECK (external_code ~ '^[0-9A-Za-z._-]{1,30}$'),
    external_name text NOT NULL CHECK (length(external_name) BETWEEN 1 AND 100),
    UNIQUE (project_id, code)
);
COMMENT ON COLUMN ledger_account.code IS 'Ours: receivable, cash:wechat, or the beginning that several share: cash, revenue.';
CALL gm.keep_audit('ledger_account');
CALL gm.guard('ledger_account');

CREATE TABLE ledger_proof (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    proved_at     timestamptz NOT NULL DEFAULT now(),
    journals      bigint NOT NULL,
    bills         bigint NOT NULL,
    accounts      bigint NOT NULL,
    discrepancies int NOT NULL CHECK (discrepancies >= 0),
    found         jsonb NOT NULL
);
COMMENT ON COLUMN ledger_proof.found IS 'The first sums that disagree: what, id, expected, found.';
CREATE INDEX ledger_proof_of_project ON ledger_proof (project_id, id DESC);
CALL gm.write_once('ledger_proof');
CALL gm.guard('ledger_proof');

-- For `gatemeter doctor`, which asks in nobody's name: of the last proof of each project.
CREATE FUNCTION gm.ledger_proved(OUT projects bigint, OUT wrong bigint, OUT oldest_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT count(*), count(*) FILTER (WHERE discrepancies > 0), coalesce(extract(epoch FROM now() - min(proved_at)), 0)
    FROM (SELECT DISTINCT ON (project_id) discrepancies, proved_at FROM ledger_proof ORDER BY project_id, id DESC) AS last
$$;

-- Every file of vouchers that was made, with its bytes: a closed month is always the same file.
CREATE TABLE voucher_export (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    month       date NOT NULL CHECK (extract(day FROM month) = 1),
    layout      text NOT NULL,
    file_type   text NOT NULL,
    grouping    text NOT NULL CHECK (grouping IN ('day', 'journal')),
    closing_id  bigint,
    vouchers    int NOT NULL,
    lines       int NOT NULL,
    total       numeric(20, 2) NOT NULL,
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    same_as     bigint,
    content     bytea,
    exported_by bigint,
    exported_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((same_as IS NULL) = (content IS NOT NULL)),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, closing_id) REFERENCES accounting_month (project_id, id),
    FOREIGN KEY (project_id, same_as) REFERENCES voucher_export (project_id, id)
);
COMMENT ON COLUMN voucher_export.closing_id IS 'The closing that held for the month when it was made; NULL: the month was open.';
COMMENT ON COLUMN voucher_export.total IS 'Debit of all vouchers, which is also their credit.';
COMMENT ON COLUMN voucher_export.content IS 'The file, compressed by zlib; NULL: that of `same_as`.';
CREATE UNIQUE INDEX voucher_export_of_closing ON voucher_export (closing_id, month, layout, file_type, grouping)
    WHERE closing_id IS NOT NULL AND same_as IS NULL;
CREATE INDEX voucher_export_of_project ON voucher_export (project_id, id DESC);
CALL gm.write_once('voucher_export');
CALL gm.guard('voucher_export');
