-- What gateways had to give up and will never send: told by themselves, so that a missing reading has a reason.

CREATE TABLE reading_gap (
    id           bigint GENERATED ALWAYS AS IDENTITY,
    project_id   bigint NOT NULL REFERENCES project,
    gateway_id   bigint NOT NULL,
    device_code  text NOT NULL,
    channel_code text NOT NULL,
    content      text NOT NULL CHECK (content IN ('readings', 'passages', 'results', 'health', 'gaps', 'configurations')),
    reason       text NOT NULL CHECK (reason IN ('outbox-full', 'thinned', 'disk-full', 'damaged-file')),
    from_at      timestamptz NOT NULL,
    until_at     timestamptz NOT NULL,
    lost         bigint NOT NULL CHECK (lost >= 0),
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gateway_id, device_code, channel_code, content, reason, from_at, until_at),
    UNIQUE (id),
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
COMMENT ON COLUMN reading_gap.device_code IS 'Empty: any device of the gateway; as on the wire, for the device need not be registered.';
COMMENT ON COLUMN reading_gap.channel_code IS 'Empty: any channel of the device.';
COMMENT ON COLUMN reading_gap.lost IS 'How many are missing at most; 0 when the gateway cannot know.';
CREATE INDEX reading_gap_of_project ON reading_gap (project_id, id);
CALL gm.guard('reading_gap');
