-- Meters as assets, and what is known about their readings beside the values: registers in force, edits, exceptions.

-- What a meter is read and judged by. The rest of what was here moves to the register, which has a history.
ALTER TABLE meter ADD COLUMN class text NOT NULL DEFAULT '';
ALTER TABLE meter ADD COLUMN interval_s int NOT NULL DEFAULT 3600 CHECK (interval_s IN (900, 1800, 3600, 86400));
ALTER TABLE meter ADD COLUMN verification_due date;
COMMENT ON COLUMN meter.class IS 'Key of cloud/metering/validation/thresholds.py; empty: the usual class of the medium.';
COMMENT ON COLUMN meter.interval_s IS 'Length of its usage rows; 86400 is the local day, whatever its length.';

-- The register in force: one row per physical meter and multiplier at this place. Times without one count no usage.
CREATE TABLE meter_register (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    meter_id     bigint NOT NULL,
    valid        tstzrange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    reason       text NOT NULL DEFAULT 'installed' CHECK (reason IN ('installed', 'exchanged', 'multiplier')),
    serial       text NOT NULL DEFAULT '',
    multiplier   numeric(12, 4) NOT NULL DEFAULT 1 CHECK (multiplier > 0),
    modulus      bigint NOT NULL CHECK (modulus > 0),
    resolution   bigint NOT NULL DEFAULT 1 CHECK (resolution > 0),
    max_per_hour bigint NOT NULL CHECK (max_per_hour > 0),
    rating       jsonb NOT NULL DEFAULT '{}',
    note         text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id),
    CONSTRAINT one_register_at_a_time EXCLUDE USING gist (meter_id WITH =, valid WITH &&)
);
COMMENT ON COLUMN meter_register.modulus IS 'Where the register starts again at 0, in the base unit of the main channel: 6 digits of kWh with 2 decimals are 1000000 * 1000.';
COMMENT ON COLUMN meter_register.resolution IS 'Its last digit, in the base unit.';
COMMENT ON COLUMN meter_register.max_per_hour IS 'Physical maximum advance of the register in an hour, in its base unit, before the multiplier.';
COMMENT ON COLUMN meter_register.rating IS 'What the maximum follows from: voltage_v, max_current_ma, phases; or q3_ml_per_h, q4_ml_per_h.';
CALL gm.keep_audit('meter_register');
CALL gm.guard('meter_register', 'meter_id IN (SELECT mine.meter_id FROM gm.my_meters() mine)');

-- Where a register stood when it was put in and when it was taken out, by channel. Usage runs on over an exchange only
-- for channels that have both readings: the closing one of the old and the opening one of the new.
CREATE TABLE register_end (
    register_id bigint NOT NULL,
    channel     smallint NOT NULL REFERENCES channel,
    project_id  bigint NOT NULL,
    opening     bigint CHECK (opening >= 0),
    closing     bigint CHECK (closing >= 0),
    PRIMARY KEY (register_id, channel),
    FOREIGN KEY (project_id, register_id) REFERENCES meter_register (project_id, id) ON DELETE CASCADE
);
CALL gm.guard('register_end');

INSERT INTO meter_register (project_id, meter_id, valid, serial, multiplier, modulus, max_per_hour)
SELECT m.project_id, m.id, tstzrange(m.installed_on::timestamp AT TIME ZONE p.time_zone,
                                     (m.removed_on + 1)::timestamp AT TIME ZONE p.time_zone),
       m.serial, m.multiplier, m.modulus, m.max_per_hour
FROM meter m JOIN project p ON p.id = m.project_id;
ALTER TABLE meter DROP COLUMN serial, DROP COLUMN multiplier, DROP COLUMN modulus, DROP COLUMN max_per_hour;

-- The register that counts now, or the last one.
CREATE VIEW current_register WITH (security_invoker) AS
SELECT DISTINCT ON (meter_id) * FROM meter_register ORDER BY meter_id, lower(valid) DESC;
GRANT SELECT ON current_register TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- What staff decided about single readings. The highest version counts; a reading itself is never changed.
CREATE TABLE reading_edit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL REFERENCES channel,
    taken_at   timestamptz NOT NULL,
    version    int NOT NULL CHECK (version > 0),
    action     text NOT NULL CHECK (action IN ('set', 'use', 'ignore', 'original')),
    value      bigint CHECK ((value IS NOT NULL) = (action = 'set')),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    actor      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (meter_id, channel, taken_at, version),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN reading_edit.action IS 'set: another value instead, believed as it stands; use: believed although a rule refuses it; ignore: usage is not derived from it; original: as if never edited.';
CALL gm.write_once('reading_edit');
CALL gm.guard('reading_edit', 'EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = reading_edit.meter_id
                               AND taken_at >= mine.from_at AND taken_at <= mine.until_at)');

-- Findings of the validation rules, and what people decided about them.
DROP TABLE usage_exception;
CREATE TABLE meter_exception (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    meter_id    bigint NOT NULL,
    channel     smallint NOT NULL,
    rule        text NOT NULL CHECK (rule IN ('duplicate', 'clock', 'configuration', 'gap', 'backward', 'exchange', 'maximum',
                    'spike', 'high-low', 'frozen', 'zero', 'inactive', 'negative', 'register-sum', 'sibling',
                    'prolonged-estimate', 'leak', 'master-balance')),
    from_at     timestamptz NOT NULL,
    until_at    timestamptz NOT NULL CHECK (until_at >= from_at),
    found       bigint,
    expected    bigint,
    state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'corrected', 'dismissed')),
    actor       text NOT NULL DEFAULT '',
    reason      text NOT NULL DEFAULT '' CHECK (state = 'open' OR length(reason) > 0),
    decided_at  timestamptz,
    detected_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (meter_id, channel, rule, from_at),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN meter_exception.from_at IS 'A finding about one reading begins and ends when it was taken.';
COMMENT ON COLUMN meter_exception.found IS 'What the rule looked at, in the base unit or the unit that the rule names; expected is the bound it breaks.';
CREATE INDEX meter_exception_open ON meter_exception (project_id, id DESC) WHERE state = 'open';
CREATE INDEX meter_exception_of_project ON meter_exception (project_id, id DESC);
CALL gm.keep_audit('meter_exception');
CALL gm.guard('meter_exception', 'EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = meter_exception.meter_id
                                  AND meter_exception.from_at >= mine.from_at AND meter_exception.until_at <= mine.until_at)');

-- Thresholds that differ from those of the class: for all meters of a class in a project, or for one meter.
CREATE TABLE validation_threshold (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    class      text,
    meter_id   bigint,
    settings   jsonb NOT NULL,
    CHECK ((class IS NULL) <> (meter_id IS NULL)),
    UNIQUE NULLS NOT DISTINCT (project_id, class, meter_id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
CALL gm.keep_audit('validation_threshold');
CALL gm.guard('validation_threshold');

-- State of the derivation. Readings it refused (codes of cloud/metering/usage.py): bases and boundaries of nothing.
CREATE TABLE store.refused_reading (
    meter_id bigint NOT NULL,
    channel  smallint NOT NULL,
    taken_at timestamptz NOT NULL,
    code     smallint NOT NULL,
    PRIMARY KEY (meter_id, channel, taken_at)
);
-- Stretches whose rows are shaped by an estimate: looked at again when what they are shaped after changes.
CREATE TABLE store.estimated_gap (
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    from_at    timestamptz NOT NULL,
    until_at   timestamptz NOT NULL,
    PRIMARY KEY (meter_id, channel, from_at)
);
-- Rows of usage that were replaced: what was known when.
CREATE TABLE store.usage_superseded (
    meter_id    bigint NOT NULL,
    channel     smallint NOT NULL,
    start       timestamptz NOT NULL,
    version     int NOT NULL,
    length_s    int NOT NULL,
    quantity    bigint NOT NULL,
    quality     smallint NOT NULL,
    method      smallint NOT NULL,
    project_id  bigint NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (meter_id, channel, start, version)
);
-- Where usage changed since validation and roll-ups looked. Added by the derivation, taken by `metering.settle`.
CREATE TABLE store.changed_usage (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    project_id bigint NOT NULL,
    from_at    timestamptz NOT NULL,
    until_at   timestamptz NOT NULL
);
CREATE INDEX changed_usage_of_meter ON store.changed_usage (meter_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON store.refused_reading, store.estimated_gap, store.usage_superseded, store.changed_usage
    TO gatemeter_ingest, gatemeter_worker;
-- An edit, a manual reading or an exchange makes usage look again, whoever asks for it.
GRANT INSERT ON store.dirty_window TO gatemeter_web;
GRANT USAGE ON SCHEMA store TO gatemeter_web;
COMMENT ON COLUMN store.usage.method IS '0 difference of readings, 1 rollover, 2 gap too long to be shaped, 3 linear between readings, 4 mean of like days, 5 average day, 6 profile of the class, 7 over an exchange';

-- What usage is not derived from, for those who look up boundary readings; only of readings they may see themselves.
CREATE VIEW refused_reading WITH (security_barrier) AS
SELECT * FROM store.refused_reading e WHERE EXISTS (
    SELECT FROM reading r WHERE r.meter_id = e.meter_id AND r.channel = e.channel AND r.taken_at = e.taken_at);
GRANT SELECT ON refused_reading TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
