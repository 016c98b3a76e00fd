-- Gateways and their devices, meters and what they measured.

CREATE TABLE gateway (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    code         text NOT NULL CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code)
);
CALL gm.keep_audit('gateway');
CALL gm.guard('gateway');

CREATE TABLE device (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    gateway_id   bigint NOT NULL,
    code         text NOT NULL CHECK (code ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    kind         text NOT NULL CHECK (kind IN ('electricity', 'water', 'heat', 'barrier', 'other')),
    template     text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (gateway_id, code),
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
);
CALL gm.keep_audit('device');
CALL gm.guard('device');

-- What changes with every message lives apart from what people change: small rows, no audit entries.
CREATE TABLE gateway_state (
    gateway_id bigint PRIMARY KEY,
    project_id bigint NOT NULL,
    seen_at    timestamptz NOT NULL,
    health     jsonb,
    health_at  timestamptz,
    FOREIGN KEY (project_id, gateway_id) REFERENCES gateway (project_id, id)
) WITH (fillfactor = 50);
CALL gm.guard('gateway_state');

CREATE TABLE device_state (
    device_id  bigint PRIMARY KEY,
    project_id bigint NOT NULL,
    seen_at    timestamptz NOT NULL,
    FOREIGN KEY (project_id, device_id) REFERENCES device (project_id, id)
) WITH (fillfactor = 50);
COMMENT ON COLUMN device_state.seen_at IS 'Newest reading or passage, as stamped at the edge.';
CALL gm.guard('device_state');

CREATE TABLE meter (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    code         text NOT NULL,
    medium       text NOT NULL CHECK (medium IN ('electricity', 'water', 'heat')),
    unit_id      bigint,
    parent_id    bigint,
    serial       text NOT NULL DEFAULT '',
    place        text NOT NULL DEFAULT '',
    multiplier   numeric(12, 4) NOT NULL DEFAULT 1 CHECK (multiplier > 0),
    modulus      bigint NOT NULL CHECK (modulus > 0),
    max_per_hour bigint NOT NULL CHECK (max_per_hour > 0),
    installed_on date NOT NULL,
    removed_on   date CHECK (removed_on >= installed_on),
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, code),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id),
    FOREIGN KEY (project_id, parent_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN meter.modulus IS 'Where the register starts again at 0, in the base unit of the main channel: 6 digits of kWh with 2 decimals are 1000000 * 1000.';
COMMENT ON COLUMN meter.max_per_hour IS 'Physical maximum advance of the register in an hour, in its base unit, before the multiplier.';
CREATE INDEX meter_of_unit ON meter (unit_id);
CALL gm.keep_audit('meter');
CALL gm.guard('meter', 'unit_id = ANY ((SELECT gm.my_units())::bigint[])');

-- Which device carries which meter, from when to when. A reading is claimed by the binding in force when it was taken.
CREATE TABLE device_binding (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    device_id  bigint NOT NULL,
    meter_id   bigint NOT NULL,
    valid      tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, device_id) REFERENCES device (project_id, id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id),
    CONSTRAINT one_meter_per_device EXCLUDE USING gist (device_id WITH =, valid WITH &&),
    CONSTRAINT one_device_per_meter EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
CALL gm.keep_audit('device_binding');
CALL gm.guard('device_binding');

-- Mirror of gateway/contract/quantities.py; a test keeps both equal.
CREATE TABLE channel (
    id   smallint PRIMARY KEY,
    code text NOT NULL UNIQUE,
    unit text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('cumulative', 'instant', 'state'))
);
GRANT SELECT ON channel TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- Batches that could not be decoded, whole, with the reason.
CREATE TABLE dead_letter (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint REFERENCES project,
    received_at  timestamptz NOT NULL DEFAULT now(),
    topic        text NOT NULL,
    payload      bytea NOT NULL,
    payload_hash bytea NOT NULL,
    reason       text NOT NULL,
    detail       text NOT NULL,
    times        int NOT NULL DEFAULT 1,
    replayed_at  timestamptz,
    UNIQUE (topic, payload_hash)
);
COMMENT ON COLUMN dead_letter.times IS 'How often the same payload came; resent rubbish does not fill the disk.';
CALL gm.guard('dead_letter');

-- Readings that no meter can take yet: the device is unknown or not bound, or the time is impossible.
CREATE TABLE unclaimed_reading (
    project_id   bigint NOT NULL REFERENCES project,
    gateway_code text NOT NULL,
    device_code  text NOT NULL,
    channel_code text NOT NULL,
    taken_at     timestamptz NOT NULL,
    value        bigint NOT NULL,
    quality      smallint NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('unknown-device', 'unbound', 'unknown-channel', 'clock')),
    received_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, gateway_code, device_code, channel_code, taken_at, value)
);
CALL gm.guard('unclaimed_reading');
GRANT DELETE ON unclaimed_reading TO gatemeter_ingest;

-- Commands to devices. The cloud's downlink signs and publishes what is queued; the gateway reports the other states.
CREATE TABLE command (
    id          uuid PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    device_id   bigint NOT NULL,
    action      text NOT NULL,
    arguments   jsonb NOT NULL DEFAULT '{}',
    reason      text NOT NULL DEFAULT '',
    actor       text NOT NULL,
    issued_at   timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL CHECK (expires_at > issued_at),
    state       text NOT NULL DEFAULT 'queued'
                CHECK (state IN ('queued', 'delivered', 'executing', 'done', 'failed', 'expired', 'uncertain')),
    detail      text NOT NULL DEFAULT '',
    published_at timestamptz,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, device_id) REFERENCES device (project_id, id)
);
CREATE INDEX command_open ON command (issued_at) WHERE state IN ('queued', 'delivered', 'executing');
CREATE INDEX command_of_device ON command (device_id, issued_at DESC);
CALL gm.keep_audit('command');
CALL gm.guard('command');

-- Which readings changed since usage was last derived. Ingest adds windows in the transaction that stores the
-- readings, the worker takes them in the transaction that stores the usage. Rows are only added and deleted, so that
-- neither waits for the other.
CREATE TABLE store.dirty_window (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    project_id bigint NOT NULL,
    from_at    timestamptz NOT NULL,
    until_at   timestamptz NOT NULL
);
CREATE INDEX dirty_window_of_meter ON store.dirty_window (meter_id);

-- Readings that usage is not derived from, with the rule they break; the register base did not move on them.
CREATE TABLE usage_exception (
    meter_id    bigint NOT NULL,
    channel     smallint NOT NULL,
    taken_at    timestamptz NOT NULL,
    value       bigint NOT NULL,
    code        text NOT NULL CHECK (code IN ('backward', 'spike')),
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'seen')),
    project_id  bigint NOT NULL,
    detected_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (meter_id, channel, taken_at),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
CREATE INDEX usage_exception_of_project ON usage_exception (project_id, detected_at DESC);

-- The same key with another value: the first stays, the second is kept here and shown.
CREATE TABLE store.reading_revision (
    meter_id    bigint NOT NULL,
    channel     smallint NOT NULL,
    taken_at    timestamptz NOT NULL,
    value       bigint NOT NULL,
    quality     smallint NOT NULL,
    project_id  bigint NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (meter_id, channel, taken_at, value)
);

-- The two series. With TimescaleDB they are hypertables with columnstore, without it monthly range partitions.
-- Row-level security and columnstore exclude each other, so people read through the views below.
CREATE FUNCTION gm.has_timescale() RETURNS boolean LANGUAGE sql STABLE AS
$$ SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') $$;

CREATE FUNCTION gm.ensure_partitions(from_on date, until_on date) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
    month date := date_trunc('month', from_on)::date;
    series text;
    made int := 0;
BEGIN
    IF gm.has_timescale() THEN
        RETURN 0;
    END IF;
    WHILE month < until_on LOOP
        FOREACH series IN ARRAY ARRAY['reading', 'usage'] LOOP
            IF to_regclass(format('store.%I', series || to_char(month, '_YYYY_MM'))) IS NULL THEN
                EXECUTE format('CREATE TABLE store.%I PARTITION OF store.%I FOR VALUES FROM (%L) TO (%L)',
                               series || to_char(month, '_YYYY_MM'), series,
                               month::timestamp AT TIME ZONE 'UTC',
                               (month + interval '1 month')::timestamp AT TIME ZONE 'UTC');
                made := made + 1;
            END IF;
        END LOOP;
        month := (month + interval '1 month')::date;
    END LOOP;
    RETURN made;
END
$$;

DO $$
DECLARE
    partitioning text := 'PARTITION BY RANGE (%I)';
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
       AND current_setting('shared_preload_libraries') LIKE '%timescaledb%' THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
    END IF;
    IF gm.has_timescale() THEN
        partitioning := '';
    END IF;

    EXECUTE 'CREATE TABLE store.reading (
        meter_id    bigint NOT NULL,
        channel     smallint NOT NULL,
        taken_at    timestamptz NOT NULL,
        value       bigint NOT NULL,
        quality     smallint NOT NULL DEFAULT 0,
        project_id  bigint NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (meter_id, channel, taken_at)) ' || format(partitioning, 'taken_at');

    EXECUTE 'CREATE TABLE store.usage (
        meter_id   bigint NOT NULL,
        channel    smallint NOT NULL,
        start      timestamptz NOT NULL,
        length_s   int NOT NULL CHECK (length_s > 0),
        quantity   bigint NOT NULL CHECK (quantity >= 0),
        quality    smallint NOT NULL DEFAULT 0,
        method     smallint NOT NULL DEFAULT 0,
        version    int NOT NULL DEFAULT 1,
        project_id bigint NOT NULL,
        PRIMARY KEY (meter_id, channel, start)) ' || format(partitioning, 'start');

    IF gm.has_timescale() THEN
        PERFORM create_hypertable('store.reading', by_range('taken_at', interval '7 days'));
        PERFORM create_hypertable('store.usage', by_range('start', interval '30 days'));
        ALTER TABLE store.reading SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'meter_id',
                                       timescaledb.orderby = 'channel, taken_at');
        ALTER TABLE store.usage SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'meter_id',
                                     timescaledb.orderby = 'channel, start');
        CALL add_columnstore_policy('store.reading', after => interval '45 days', if_not_exists => true);
        CALL add_columnstore_policy('store.usage', after => interval '45 days', if_not_exists => true);
    ELSE
        CREATE TABLE store.reading_other PARTITION OF store.reading DEFAULT;
        CREATE TABLE store.usage_other PARTITION OF store.usage DEFAULT;
        PERFORM gm.ensure_partitions((now() - interval '24 months')::date, (now() + interval '3 months')::date);
    END IF;
END $$;
COMMENT ON TABLE store.usage IS 'What a meter used between two readings, multiplier applied. length_s is 3600 on the hourly grid; longer where readings are missing: the advance is known, its shape is not.';
COMMENT ON COLUMN store.usage.method IS '0 difference of readings, 1 rollover, 2 gap (longer than the grid), 3 estimated';

-- Which meters a resident may see, and for which time: his occupancy, in the project's time zone.
CREATE FUNCTION gm.my_meters() RETURNS TABLE (meter_id bigint, from_at timestamptz, until_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 4 AS
$$
    SELECT m.id, lower(o.valid)::timestamp AT TIME ZONE p.time_zone,
           coalesce(upper(o.valid)::timestamp AT TIME ZONE p.time_zone, 'infinity')
    FROM occupancy o
    JOIN meter m ON m.unit_id = o.unit_id
    JOIN project p ON p.id = o.project_id
    WHERE o.person_id = ANY (gm.persons())
$$;

-- The system processes read everything, as in the policies: the web role saying `system` sees nothing.
CREATE FUNCTION gm.is_system() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT gm.kind() = 'system' AND current_user IN ('gatemeter_ingest', 'gatemeter_worker') $$;

CREATE VIEW reading WITH (security_barrier) AS
SELECT r.* FROM store.reading r
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND r.project_id = ANY ((SELECT gm.projects())::bigint[]))
   OR ((SELECT gm.kind()) = 'resident' AND r.project_id = ANY ((SELECT gm.projects())::bigint[]) AND EXISTS (
       SELECT FROM gm.my_meters() mine
       WHERE mine.meter_id = r.meter_id AND r.taken_at >= mine.from_at AND r.taken_at <= mine.until_at));

CALL gm.guard('usage_exception', 'EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = usage_exception.meter_id
                                  AND taken_at >= mine.from_at AND taken_at <= mine.until_at)');

-- A row that reaches past the end of an occupancy would tell what the next one used.
CREATE VIEW usage WITH (security_barrier) AS
SELECT u.* FROM store.usage u
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND u.project_id = ANY ((SELECT gm.projects())::bigint[]))
   OR ((SELECT gm.kind()) = 'resident' AND u.project_id = ANY ((SELECT gm.projects())::bigint[]) AND EXISTS (
       SELECT FROM gm.my_meters() mine
       WHERE mine.meter_id = u.meter_id AND u.start >= mine.from_at
         AND u.start + u.length_s * interval '1 second' <= mine.until_at));

CREATE VIEW reading_revision WITH (security_barrier) AS
SELECT r.* FROM store.reading_revision r
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND r.project_id = ANY ((SELECT gm.projects())::bigint[]));

GRANT SELECT ON reading, usage, reading_revision TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON store.reading, store.usage, store.dirty_window, store.reading_revision
    TO gatemeter_ingest, gatemeter_worker;
GRANT EXECUTE ON FUNCTION gm.ensure_partitions(date, date) TO gatemeter_worker;
ALTER FUNCTION gm.ensure_partitions(date, date) SECURITY DEFINER SET search_path = public, pg_temp;

INSERT INTO channel (id, code, unit, kind) VALUES
    (1, 'energy_import_total', 'Wh', 'cumulative'),
    (2, 'energy_import_sharp', 'Wh', 'cumulative'),
    (3, 'energy_import_peak', 'Wh', 'cumulative'),
    (4, 'energy_import_flat', 'Wh', 'cumulative'),
    (5, 'energy_import_valley', 'Wh', 'cumulative'),
    (6, 'energy_import_deep_valley', 'Wh', 'cumulative'),
    (7, 'energy_export_total', 'Wh', 'cumulative'),
    (8, 'reactive_energy_import_total', 'varh', 'cumulative'),
    (9, 'reactive_energy_export_total', 'varh', 'cumulative'),
    (10, 'energy_import_l1', 'Wh', 'cumulative'),
    (11, 'energy_import_l2', 'Wh', 'cumulative'),
    (12, 'energy_import_l3', 'Wh', 'cumulative'),
    (13, 'energy_export_l1', 'Wh', 'cumulative'),
    (14, 'energy_export_l2', 'Wh', 'cumulative'),
    (15, 'energy_export_l3', 'Wh', 'cumulative'),
    (16, 'apparent_energy_total', 'VAh', 'cumulative'),
    (17, 'energy_net_total', 'Wh', 'cumulative'),
    (30, 'power_active_total', 'W', 'instant'),
    (31, 'power_active_l1', 'W', 'instant'),
    (32, 'power_active_l2', 'W', 'instant'),
    (33, 'power_active_l3', 'W', 'instant'),
    (34, 'power_reactive_total', 'var', 'instant'),
    (35, 'power_reactive_l1', 'var', 'instant'),
    (36, 'power_reactive_l2', 'var', 'instant'),
    (37, 'power_reactive_l3', 'var', 'instant'),
    (38, 'power_apparent_total', 'VA', 'instant'),
    (39, 'power_apparent_l1', 'VA', 'instant'),
    (40, 'power_apparent_l2', 'VA', 'instant'),
    (41, 'power_apparent_l3', 'VA', 'instant'),
    (42, 'voltage_l1', 'mV', 'instant'),
    (43, 'voltage_l2', 'mV', 'instant'),
    (44, 'voltage_l3', 'mV', 'instant'),
    (45, 'voltage_l1_l2', 'mV', 'instant'),
    (46, 'voltage_l2_l3', 'mV', 'instant'),
    (47, 'voltage_l3_l1', 'mV', 'instant'),
    (48, 'current_l1', 'mA', 'instant'),
    (49, 'current_l2', 'mA', 'instant'),
    (50, 'current_l3', 'mA', 'instant'),
    (51, 'current_neutral', 'mA', 'instant'),
    (52, 'power_factor_total', '1/1000', 'instant'),
    (53, 'power_factor_l1', '1/1000', 'instant'),
    (54, 'power_factor_l2', '1/1000', 'instant'),
    (55, 'power_factor_l3', '1/1000', 'instant'),
    (56, 'frequency', 'mHz', 'instant'),
    (57, 'demand_active_max', 'W', 'instant'),
    (70, 'volume_total', 'mL', 'cumulative'),
    (71, 'volume_reverse_total', 'mL', 'cumulative'),
    (72, 'heat_total', 'Wh', 'cumulative'),
    (73, 'cooling_total', 'Wh', 'cumulative'),
    (80, 'flow', 'mL/h', 'instant'),
    (81, 'temperature_supply', 'm°C', 'instant'),
    (82, 'temperature_return', 'm°C', 'instant'),
    (83, 'temperature_water', 'm°C', 'instant'),
    (84, 'pressure', 'Pa', 'instant'),
    (85, 'power_heat', 'W', 'instant'),
    (100, 'battery_voltage', 'mV', 'instant'),
    (101, 'valve_state', 'state', 'state'),
    (102, 'relay_state', 'state', 'state'),
    (103, 'alarm_flags', 'flags', 'state'),
    (104, 'operating_time', 's', 'cumulative');
