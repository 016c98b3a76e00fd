-- What gateways are to run: versions of a configuration, each with its fate.

CREATE TABLE gateway_configuration (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    gateway_id bigint NOT NULL,
    number     bigint NOT NULL CHECK (number > 0),
    site       text NOT NULL,
    templates  jsonb NOT NULL DEFAULT '{}',
    confirm_s  int NOT NULL CHECK (confirm_s > 0),
    restores   bigint,
    reason     text NOT NULL DEFAULT '',
    actor      text NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    state      text NOT NULL DEFAULT 'queued'
               CHECK (state IN ('queued', 'superseded', 'received', 'applied', 'refused', 'confirmed', 'rolled-back')),
    detail     text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (gateway_id, number),
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON COLUMN gateway_configuration.site IS 'YAML as its author wrote it; what it means is decided by the gateway.';
COMMENT ON COLUMN gateway_configuration.restores IS 'Number of the earlier configuration whose content this one has.';
CREATE UNIQUE INDEX gateway_configuration_queued ON gateway_configuration (gateway_id) WHERE state = 'queued';
CALL gm.keep_audit('gateway_configuration');
CALL gm.guard('gateway_configuration');

-- What the downlink does with them changes often and is nobody's decision: no audit entries.
CREATE TABLE configuration_delivery (
    gateway_id   bigint PRIMARY KEY,
    project_id   bigint NOT NULL,
    number       bigint NOT NULL,
    published_at timestamptz,
    times        int NOT NULL DEFAULT 0,
    highest      bigint NOT NULL DEFAULT 0,
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON COLUMN configuration_delivery.number IS 'Which configuration was published last, and how many times.';
COMMENT ON COLUMN configuration_delivery.highest IS 'Highest number that the gateway knows. After a restored backup it may be above all numbers here.';
CALL gm.guard('configuration_delivery');
