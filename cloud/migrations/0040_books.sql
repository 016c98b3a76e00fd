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
