-- What payment providers say of a day: payments and refunds, to be compared with what was booked here.

CREATE TABLE provider_statement (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL CHECK (channel IN ('wechat', 'alipay')),
    day     date NOT NULL,
    state   text NOT NULL DEFAULT 'wanted' CHECK (state IN ('wanted', 'kept')),
    look_at timestamptz NOT NULL,
    looks   int NOT NULL DEFAULT 0,
    failure text CHECK (length(failure) <= 200),
    kept_at timestamptz CHECK ((kept_at IS NOT NULL) = (state = 'kept')),
    moves   int NOT NULL DEFAULT 0 CHECK (moves >= 0),
    others  int NOT NULL DEFAULT 0 CHECK (others >= 0),
    UNIQUE (channel, day)
);
COMMENT ON TABLE provider_statement IS 'Statements of the merchant, day by day of Shanghai; of all projects of the installation.';
COMMENT ON COLUMN provider_statement.others IS 'Lines whose order is not ours: the merchant takes money for something else, too.';
CREATE INDEX provider_statement_wanted ON provider_statement (look_at) WHERE state = 'wanted';
GRANT SELECT ON provider_statement TO gatemeter_web;
GRANT SELECT, INSERT, UPDATE ON provider_statement TO gatemeter_worker;

CREATE TABLE provider_move (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint REFERENCES project,
    channel          text NOT NULL,
    day              date NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('payment', 'refund')),
    reference        text NOT NULL,
    provider_id      text NOT NULL,
    refund_reference text NOT NULL CHECK ((refund_reference <> '') = (kind = 'refund')),
    amount           numeric(18, 4) NOT NULL,
    currency         text NOT NULL,
    at               timestamptz NOT NULL,
    failed           boolean NOT NULL DEFAULT false,
    FOREIGN KEY (channel, day) REFERENCES provider_statement (channel, day),
    UNIQUE (channel, provider_id, refund_reference)
);
COMMENT ON COLUMN provider_move.project_id IS 'That of the order; NULL where we have no such order.';
CREATE INDEX provider_move_refund ON provider_move (refund_reference) WHERE kind = 'refund';
CREATE INDEX provider_move_day ON provider_move (channel, day);
CALL gm.guard('provider_move');

CREATE TABLE provider_difference (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint REFERENCES project,
    channel          text NOT NULL CHECK (channel IN ('wechat', 'alipay')),
    day              date NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('payment-missing-there', 'payment-differs', 'refund-missing-there',
                                                   'refund-missing-here', 'refund-differs', 'refund-failed')),
    reference        text NOT NULL,
    provider_id      text NOT NULL,
    refund_reference text NOT NULL,
    here             numeric(18, 4),
    there            numeric(18, 4),
    currency         text NOT NULL,
    state            text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'gone', 'settled')),
    note             text NOT NULL DEFAULT '' CHECK (length(note) <= 1000),
    settled_by       bigint REFERENCES app_user,
    found_at         timestamptz NOT NULL DEFAULT now(),
    CHECK (here IS NOT NULL OR there IS NOT NULL),
    CHECK ((note <> '') = (state = 'settled')),
    UNIQUE (channel, kind, provider_id, refund_reference)
);
COMMENT ON TABLE provider_difference IS 'Where a provider''s statement and our books disagree; somebody looks at what is open.';
CREATE INDEX provider_difference_open ON provider_difference (id DESC) WHERE state = 'open';
CALL gm.keep_audit('provider_difference');
CALL gm.guard('provider_difference');
-- Whose money it is nobody knows: whoever sees differences sees these too, like callbacks.
CREATE POLICY staff_unknown ON provider_difference TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND project_id IS NULL)
    WITH CHECK ((SELECT gm.kind()) = 'staff' AND project_id IS NULL);

CREATE INDEX payment_callback_provider ON payment_callback (channel, provider_id);
