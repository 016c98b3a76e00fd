-- What gateways are told of vehicles, so that their lanes decide without the cloud: entries with the number of the step
-- that changed each. What is told follows from tables that people change and that are audited: no audit entries here.

CREATE TABLE gateway_access (
    gateway_id   bigint PRIMARY KEY,
    project_id   bigint NOT NULL,
    number       bigint NOT NULL DEFAULT 0 CHECK (number >= 0),
    held         bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    sent         bigint NOT NULL DEFAULT 0 CHECK (sent BETWEEN 0 AND number),
    sent_at      timestamptz,
    times        int NOT NULL DEFAULT 0,
    forgotten    bigint NOT NULL DEFAULT 0,
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON COLUMN gateway_access.number IS 'The last step that was made.';
COMMENT ON COLUMN gateway_access.held IS 'The step that the gateway told to hold in its last health report.';
COMMENT ON COLUMN gateway_access.sent IS 'The step up to which everything was published, 0 when all has to be told anew.';
COMMENT ON COLUMN gateway_access.times IS 'How often it was published again without the gateway having it.';
COMMENT ON COLUMN gateway_access.forgotten IS 'Entries that were gone by this step are forgotten: from an earlier one only everything leads on.';
CALL gm.guard('gateway_access');

CREATE TABLE gateway_access_entry (
    gateway_id bigint NOT NULL,
    project_id bigint NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('list', 'permit', 'reservation', 'lot', 'stay')),
    key        text NOT NULL CHECK (length(key) BETWEEN 1 AND 64),
    number     bigint NOT NULL CHECK (number > 0),
    entry      jsonb,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, kind, key),
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON COLUMN gateway_access_entry.number IS 'The step in which it came, changed or went.';
COMMENT ON COLUMN gateway_access_entry.entry IS 'As it goes over the wire; NULL when it is gone.';
CREATE INDEX gateway_access_entry_by_step ON gateway_access_entry (gateway_id, number);
CREATE INDEX gateway_access_entry_gone ON gateway_access_entry (gateway_id, changed_at) WHERE entry IS NULL;
CALL gm.guard('gateway_access_entry');
