"""SQL of the proof of the ledger: each statement lists what should be equal and is not."""

from typing import LiteralString

# `payment` and its allocations are read here as evidence only:
# a proof that asked the code that booked them would prove nothing.
BILLS_AND_PAYMENTS: LiteralString = """
    WITH parts AS (
        SELECT bill_id, sum(principal) AS principal
        FROM payment_allocation WHERE project_id = %(project_id)s GROUP BY bill_id
    ), booked AS (
        SELECT account_id, ledger_account, sum(amount) AS amount
        FROM posting WHERE project_id = %(project_id)s AND ledger_account IN ('receivable', 'liability:prepaid')
        GROUP BY account_id, ledger_account
    )
    SELECT 'journal' AS what, journal_id AS id, 0::numeric AS expected, sum(amount) AS found
    FROM posting WHERE project_id = %(project_id)s GROUP BY journal_id HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'empty-journal', j.id, 1, 0 FROM journal j
    WHERE j.project_id = %(project_id)s AND NOT EXISTS (SELECT FROM posting p WHERE p.journal_id = j.id)
    UNION ALL
    SELECT 'ledger', %(project_id)s, 0, sum(amount) FROM posting WHERE project_id = %(project_id)s
    HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'bill', b.id, b.total, coalesce(l.amount, 0)
    FROM bill b LEFT JOIN (SELECT bill_id, sum(amount) AS amount FROM bill_line
                           WHERE project_id = %(project_id)s GROUP BY bill_id) l ON l.bill_id = b.id
    WHERE b.project_id = %(project_id)s AND b.total <> coalesce(l.amount, 0)
    UNION ALL
    SELECT 'bill-journal', b.id, b.total, coalesce(p.amount, 0)
    FROM bill b LEFT JOIN (
        SELECT j.source_id, sum(p.amount) AS amount FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s AND j.kind IN ('bill', 'credit_note', 'debit_note') AND j.source = 'bill'
          AND p.ledger_account = 'receivable'
        GROUP BY j.source_id) p ON p.source_id = b.id
    WHERE b.project_id = %(project_id)s AND b.state <> 'draft' AND b.total <> coalesce(p.amount, 0)
    UNION ALL
    SELECT 'receivable', coalesce(open.account_id, booked.account_id), coalesce(open.amount, 0),
           coalesce(booked.amount, 0)
    FROM (SELECT b.account_id, sum(b.total - coalesce(parts.principal, 0)) AS amount
          FROM bill b LEFT JOIN parts ON parts.bill_id = b.id
          WHERE b.project_id = %(project_id)s AND b.state NOT IN ('draft', 'void')
          GROUP BY b.account_id) AS open
    FULL JOIN (SELECT * FROM booked WHERE ledger_account = 'receivable') AS booked
      ON booked.account_id = open.account_id
    WHERE coalesce(open.amount, 0) <> coalesce(booked.amount, 0)
    UNION ALL
    SELECT 'payment', p.id, p.amount - coalesce(a.amount, 0), coalesce(k.amount, 0)
    FROM payment p
    LEFT JOIN (SELECT payment_id, sum(principal + late_fee) AS amount FROM payment_allocation
               WHERE project_id = %(project_id)s GROUP BY payment_id) a ON a.payment_id = p.id
    LEFT JOIN (SELECT j.source_id, -sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'payment' AND o.ledger_account = 'liability:prepaid'
               GROUP BY j.source_id) k ON k.source_id = p.id
    WHERE p.project_id = %(project_id)s AND p.purpose IN ('bill', 'balance') AND p.state = 'settled'
      AND p.amount - coalesce(a.amount, 0) <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'late-fee', w.id, w.returned, coalesce(k.amount, 0)
    FROM late_fee_waiver w
    LEFT JOIN (SELECT j.source_id, -sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'late_fee_waiver'
                 AND o.ledger_account = 'liability:prepaid'
               GROUP BY j.source_id) k ON k.source_id = w.id
    WHERE w.project_id = %(project_id)s AND w.state = 'approved' AND w.returned <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'prepaid', account_id, 0, -amount FROM booked WHERE ledger_account = 'liability:prepaid' AND amount > 0
    UNION ALL
    SELECT 'series', s.id, s.next - 1, n.given
    FROM number_series s
    CROSS JOIN LATERAL (SELECT split_part(s.series, '-', 1) AS kind, split_part(s.series, '-', 2) AS year) of
    CROSS JOIN LATERAL (SELECT count(*) AS given FROM bill b
                        WHERE b.project_id = s.project_id AND b.kind = of.kind
                          AND b.number ~ ('^[CD]?' || of.year || '-\\d{6,}$')) n
    WHERE s.project_id = %(project_id)s AND s.series ~ '^(bill|credit_note|debit_note)-\\d{4}$'
      AND s.next - 1 <> n.given
"""
# Held money again from its beginnings: what came in, what paid bills, what went out.
HELD_MONEY: LiteralString = """
    WITH moved AS (
        SELECT p.account_id, 'liability:prepaid' AS ledger_account, p.amount - coalesce(a.amount, 0) AS amount
        FROM payment p
        LEFT JOIN (SELECT payment_id, sum(principal + late_fee) AS amount FROM payment_allocation
                   WHERE project_id = %(project_id)s GROUP BY payment_id) a ON a.payment_id = p.id
        WHERE p.project_id = %(project_id)s AND p.purpose IN ('bill', 'balance') AND p.state = 'settled'
        UNION ALL
        -- A note's own part is negative, what it gave to bills positive: the rest was kept.
        SELECT b.account_id, 'liability:prepaid', -sum(a.principal)
        FROM payment_allocation a JOIN bill b ON b.id = a.credit_note_id
        WHERE a.project_id = %(project_id)s GROUP BY b.id
        UNION ALL
        SELECT account_id, CASE source WHEN 'balance' THEN 'liability:prepaid' ELSE 'liability:deposit' END, -amount
        FROM set_off WHERE project_id = %(project_id)s
        UNION ALL
        SELECT b.account_id, 'liability:prepaid', w.returned
        FROM late_fee_waiver w JOIN bill b ON b.id = w.bill_id
        WHERE w.project_id = %(project_id)s AND w.state = 'approved'
        UNION ALL
        SELECT account_id, 'liability:deposit', amount FROM deposit WHERE project_id = %(project_id)s
        UNION ALL
        SELECT account_id, CASE WHEN deposit_id IS NULL THEN 'liability:prepaid' ELSE 'liability:deposit' END, -amount
        FROM release WHERE project_id = %(project_id)s AND state = 'approved' AND action = 'refund'
    ), expected AS (
        SELECT account_id, ledger_account, sum(amount) AS amount FROM moved GROUP BY account_id, ledger_account
    ), booked AS (
        SELECT account_id, ledger_account, -sum(amount) AS amount FROM posting
        WHERE project_id = %(project_id)s AND ledger_account IN ('liability:prepaid', 'liability:deposit')
        GROUP BY account_id, ledger_account
    )
    SELECT CASE ledger_account WHEN 'liability:prepaid' THEN 'held-balance' ELSE 'held-deposit' END AS what,
           account_id AS id, coalesce(e.amount, 0) AS expected, coalesce(b.amount, 0) AS found
    FROM expected e FULL JOIN booked b USING (account_id, ledger_account)
    WHERE coalesce(e.amount, 0) <> coalesce(b.amount, 0)
    UNION ALL
    SELECT 'cash', p.id, p.amount, coalesce(k.amount, 0)
    FROM payment p
    LEFT JOIN (SELECT j.source_id, sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'payment' AND o.ledger_account LIKE 'cash:%%'
               GROUP BY j.source_id) k ON k.source_id = p.id
    WHERE p.project_id = %(project_id)s AND p.state = 'settled' AND p.amount <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'deposit', d.id, p.amount, d.amount
    FROM deposit d JOIN payment p ON p.id = d.payment_id
    WHERE d.project_id = %(project_id)s AND (p.amount <> d.amount OR p.account_id <> d.account_id)
    UNION ALL
    SELECT 'set-off', s.id, s.amount, coalesce(a.amount, 0)
    FROM set_off s
    LEFT JOIN (SELECT set_off_id, sum(principal + late_fee) AS amount FROM payment_allocation
               WHERE project_id = %(project_id)s GROUP BY set_off_id) a ON a.set_off_id = s.id
    WHERE s.project_id = %(project_id)s AND s.amount <> coalesce(a.amount, 0)
    UNION ALL
    SELECT 'set-off-journal', s.id, s.amount, coalesce(k.amount, 0)
    FROM set_off s
    LEFT JOIN (SELECT j.source_id, sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'set_off' AND o.ledger_account LIKE 'liability:%%'
               GROUP BY j.source_id) k ON k.source_id = s.id
    WHERE s.project_id = %(project_id)s AND s.amount <> coalesce(k.amount, 0)
    UNION ALL
    SELECT 'refund', r.id, r.amount, coalesce(-k.amount, 0)
    FROM release r
    LEFT JOIN (SELECT j.source_id, sum(o.amount) AS amount FROM journal j JOIN posting o ON o.journal_id = j.id
               WHERE j.project_id = %(project_id)s AND j.source = 'release' AND o.ledger_account LIKE 'cash:%%'
               GROUP BY j.source_id) k ON k.source_id = r.id
    WHERE r.project_id = %(project_id)s AND r.state = 'approved' AND r.action = 'refund'
      AND r.amount <> coalesce(-k.amount, 0)
    UNION ALL
    SELECT 'release', r.id, r.amount, coalesce(s.amount, 0)
    FROM release r LEFT JOIN set_off s ON s.id = r.set_off_id AND s.source = 'deposit'
    WHERE r.project_id = %(project_id)s AND r.state = 'approved' AND r.action = 'set-off'
      AND r.amount <> coalesce(s.amount, 0)
    UNION ALL
    SELECT 'late-fees', %(project_id)s, paid.amount, booked.amount
    FROM (SELECT coalesce(sum(amount), 0) AS amount
          FROM (SELECT late_fee AS amount FROM payment_allocation WHERE project_id = %(project_id)s
                UNION ALL
                SELECT -returned FROM late_fee_waiver
                WHERE project_id = %(project_id)s AND state = 'approved') AS part) AS paid,
         (SELECT coalesce(-sum(amount), 0) AS amount FROM posting
          WHERE project_id = %(project_id)s AND ledger_account = 'revenue:late_fee') AS booked
    WHERE paid.amount <> booked.amount
"""
# Money for parking: each payment is all that it paid of stays, for coupons or for cards, and what is to go back;
# revenue, tax and what is due back are what was booked; and what a stay is said to owe follows from its fee, payments
# and waivers.
PARKING: LiteralString = """
    WITH parts AS (
        SELECT payment_id, sum(amount) AS amount FROM parking_payment WHERE project_id = %(project_id)s
        GROUP BY payment_id
        UNION ALL
        SELECT payment_id, amount FROM merchant_payment WHERE project_id = %(project_id)s
        UNION ALL
        SELECT payment_id, amount FROM permit_period WHERE project_id = %(project_id)s AND payment_id IS NOT NULL
    ), back AS (
        SELECT payment_id, sum(amount) AS amount FROM payment_refund WHERE project_id = %(project_id)s
        GROUP BY payment_id
    ), booked AS (
        SELECT j.source, j.source_id, p.ledger_account, sum(p.amount) AS amount
        FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s
          AND (j.source = 'payment_refund' OR (j.kind = 'parking' AND j.source = 'payment'))
        GROUP BY j.source, j.source_id, p.ledger_account
    )
    SELECT 'parking-payment' AS what, p.id, p.amount AS expected,
           coalesce(parts.amount, 0) + coalesce(back.amount, 0) AS found
    FROM payment p LEFT JOIN parts ON parts.payment_id = p.id LEFT JOIN back ON back.payment_id = p.id
    WHERE p.project_id = %(project_id)s AND p.purpose = 'parking' AND p.state = 'settled'
      AND p.amount <> coalesce(parts.amount, 0) + coalesce(back.amount, 0)
    UNION ALL
    SELECT sums.what, %(project_id)s, sums.expected, coalesce(-sums.found, 0)
    FROM (VALUES
        ('parking-revenue',
         (SELECT coalesce(sum(amount - tax), 0) FROM parking_payment WHERE project_id = %(project_id)s)
         + (SELECT coalesce(sum(amount), 0) FROM merchant_payment WHERE project_id = %(project_id)s)
         + (SELECT coalesce(sum(amount), 0) FROM permit_period
            WHERE project_id = %(project_id)s AND payment_id IS NOT NULL),
         (SELECT sum(amount) FROM booked WHERE ledger_account = 'revenue:parking')),
        ('parking-tax',
         (SELECT coalesce(sum(tax), 0) FROM parking_payment WHERE project_id = %(project_id)s),
         (SELECT sum(amount) FROM booked WHERE ledger_account = 'tax:vat')),
        ('due-back',
         (SELECT coalesce(sum(amount), 0) FROM payment_refund
          WHERE project_id = %(project_id)s AND state IN ('open', 'asked')),
         (SELECT sum(amount) FROM posting
          WHERE project_id = %(project_id)s AND ledger_account = 'liability:refund'))
    ) AS sums (what, expected, found)
    WHERE sums.expected <> coalesce(-sums.found, 0)
    UNION ALL
    SELECT 'given-back', r.id, CASE r.state WHEN 'refunded' THEN r.amount ELSE 0 END, coalesce(-k.amount, 0)
    FROM payment_refund r
    LEFT JOIN (SELECT source_id, sum(amount) AS amount FROM booked
               WHERE source = 'payment_refund' AND ledger_account LIKE 'cash:%%' GROUP BY source_id) k
      ON k.source_id = r.id
    WHERE r.project_id = %(project_id)s
      AND coalesce(-k.amount, 0) <> CASE r.state WHEN 'refunded' THEN r.amount ELSE 0 END
    UNION ALL
    SELECT 'parking-unpaid', s.id,
           CASE WHEN s.state <> 'closed' OR s.fee IS NULL THEN 0
                WHEN s.fee > p.paid THEN greatest(s.fee - p.paid - w.waived, 0) ELSE s.fee - p.paid END, s.unpaid
    FROM parking_session s
    LEFT JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS paid FROM parking_payment WHERE session_id = s.id) p ON true
    LEFT JOIN LATERAL (SELECT coalesce(sum(amount), 0) AS waived FROM parking_waiver WHERE session_id = s.id) w ON true
    WHERE s.project_id = %(project_id)s
      AND s.unpaid <> CASE WHEN s.state <> 'closed' OR s.fee IS NULL THEN 0
                           WHEN s.fee > p.paid THEN greatest(s.fee - p.paid - w.waived, 0) ELSE s.fee - p.paid END
"""
# Money for parking cards: a period is its months, a refund what was booked as paid out of revenue by its method, and
# all refunds of a permit the months that were paid where they were sold and given back.
CARDS: LiteralString = """
    WITH months AS (
        SELECT d.id AS period_id, d.permit_id, d.amount, sum(m.amount) AS sold,
               coalesce(sum(m.amount) FILTER (WHERE m.given_back AND d.payment_id IS NOT NULL), 0) AS given_back
        FROM permit_period d JOIN permit_month m ON m.period_id = d.id
        WHERE d.project_id = %(project_id)s GROUP BY d.id
    ), booked AS (
        SELECT j.source_id, -sum(p.amount) AS amount, p.ledger_account
        FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s AND j.source = 'permit_refund' AND p.ledger_account <> 'revenue:parking'
        GROUP BY j.source_id, p.ledger_account
    ), refund AS (
        SELECT id, permit_id, amount, 'cash:' || method AS ledger_account FROM permit_refund
        WHERE project_id = %(project_id)s
    )
    SELECT 'card-months' AS what, period_id AS id, amount AS expected, sold AS found FROM months WHERE amount <> sold
    UNION ALL
    SELECT 'card-refund', coalesce(r.id, b.source_id), coalesce(r.amount, 0), coalesce(b.amount, 0)
    FROM refund r FULL JOIN booked b ON (b.source_id, b.ledger_account) = (r.id, r.ledger_account)
    WHERE coalesce(r.amount, 0) <> coalesce(b.amount, 0)
    UNION ALL
    SELECT 'card-given-back', coalesce(m.permit_id, r.permit_id), coalesce(m.amount, 0), coalesce(r.amount, 0)
    FROM (SELECT permit_id, sum(given_back) AS amount FROM months GROUP BY permit_id) m
    FULL JOIN (SELECT permit_id, sum(amount) AS amount FROM refund GROUP BY permit_id) r USING (permit_id)
    WHERE coalesce(m.amount, 0) <> coalesce(r.amount, 0)
"""
# What was stored of closed months against the journals, number by number.
MONTHS: LiteralString = """
    WITH closed AS (
        SELECT id, month FROM accounting_month WHERE project_id = %(project_id)s AND reopened_at IS NULL
    ), booked AS (
        SELECT p.ledger_account, date_trunc('month', j.booked_on)::date AS month,
               coalesce(sum(p.amount) FILTER (WHERE p.amount > 0), 0) AS debit,
               coalesce(-sum(p.amount) FILTER (WHERE p.amount < 0), 0) AS credit
        FROM journal j JOIN posting p ON p.journal_id = j.id
        WHERE j.project_id = %(project_id)s GROUP BY 1, 2
    ), expected AS (
        SELECT c.id AS closing_id, b.ledger_account,
               coalesce(sum(b.debit - b.credit) FILTER (WHERE b.month < c.month), 0) AS opening,
               coalesce(sum(b.debit) FILTER (WHERE b.month = c.month), 0) AS debit,
               coalesce(sum(b.credit) FILTER (WHERE b.month = c.month), 0) AS credit
        FROM closed c JOIN booked b ON b.month <= c.month GROUP BY c.id, b.ledger_account
    ), stored AS (
        SELECT closing_id, ledger_account, opening, debit, credit FROM ledger_month_balance
        WHERE closing_id IN (SELECT id FROM closed)
    )
    SELECT 'month-balance' AS what, closing_id AS id, n.expected, n.found
    FROM expected e FULL JOIN stored s USING (closing_id, ledger_account)
    CROSS JOIN LATERAL (VALUES (coalesce(e.opening, 0), coalesce(s.opening, 0)),
                               (coalesce(e.debit, 0), coalesce(s.debit, 0)),
                               (coalesce(e.credit, 0), coalesce(s.credit, 0))) AS n (expected, found)
    WHERE n.expected <> n.found
"""

# Tax is not revenue: what charges, corrections and notes say is tax against the accounts `tax:*`, bill by bill, for
# corrections that are on no bill, and all together. Lines of notes from before they said so are tax where they are
# about one.
TAXES: LiteralString = """
    WITH issued AS (
        SELECT id, kind, inputs -> 'note' -> 'bill' IS NOT NULL AS by_hand FROM bill
        WHERE project_id = %(project_id)s AND state NOT IN ('draft', 'void')
    ), revised AS (
        SELECT a.id, d.bill_id, a.difference, t.key AS component, t.value::numeric * t.sign AS amount
        FROM adjustment a LEFT JOIN billed_adjustment d ON d.adjustment_id = a.id
        CROSS JOIN LATERAL (SELECT key, value, 1 AS sign FROM jsonb_each_text(a.taxes)
                            UNION ALL SELECT key, value, 1 FROM jsonb_each_text(a.counted_taxes)
                            UNION ALL SELECT key, value, -1 FROM jsonb_each_text(a.old_taxes)) AS t
        WHERE a.project_id = %(project_id)s AND (a.taxes <> a.old_taxes OR a.counted_taxes <> '{}')
    ), expected AS (
        SELECT 'bill-tax' AS what, part.bill_id AS id, part.component, sum(part.amount) AS amount
        FROM (SELECT c.bill_id, t.key AS component, t.value::numeric AS amount
              FROM charge c CROSS JOIN LATERAL jsonb_each_text(c.taxes) AS t
              WHERE c.project_id = %(project_id)s AND c.taxes <> '{}'
              UNION ALL
              SELECT bill_id, component, amount FROM revised WHERE bill_id IS NOT NULL
              UNION ALL
              SELECT l.bill_id, t.key, t.value::numeric
              FROM bill_line l JOIN issued i ON i.id = l.bill_id AND i.by_hand
              CROSS JOIN LATERAL jsonb_each_text(
                  CASE WHEN l.detail ? 'taxes' THEN l.detail -> 'taxes'
                       WHEN l.detail ->> 'of' = 'tax' THEN jsonb_build_object(l.component, l.amount::text)
                       ELSE '{}' END) AS t) AS part
        JOIN issued i ON i.id = part.bill_id
        GROUP BY part.bill_id, part.component
        UNION ALL
        SELECT 'correction-tax', id, component, sum(amount) FROM revised
        WHERE bill_id IS NULL AND difference = 0 GROUP BY id, component
    ), booked AS (
        SELECT CASE j.source WHEN 'bill' THEN 'bill-tax' WHEN 'adjustment' THEN 'correction-tax' ELSE 'tax' END AS what,
               j.source_id AS id, substr(p.ledger_account, 5) AS component, -sum(p.amount) AS amount
        FROM posting p JOIN journal j ON j.id = p.journal_id
        WHERE p.project_id = %(project_id)s AND p.ledger_account LIKE 'tax:%%'
          -- `PARKING` proves the tax in what stays were paid.
          AND NOT (j.source = 'payment_refund' OR (j.kind = 'parking' AND j.source = 'payment'))
        GROUP BY 1, 2, 3
    )
    SELECT coalesce(e.what, b.what) AS what, coalesce(e.id, b.id) AS id, coalesce(e.amount, 0) AS expected,
           coalesce(b.amount, 0) AS found
    FROM expected e
    FULL JOIN booked b ON (b.what, b.id, b.component) = (e.what, e.id, e.component)
    WHERE coalesce(e.amount, 0) <> coalesce(b.amount, 0)
"""
