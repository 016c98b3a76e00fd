-- Apportionment: rules by which a loss or shared use is shared out among units, and what each run came to.

-- What is rare among rows of usage (estimates, rollovers) is found without reading the others.
CREATE INDEX usage_out_of_line ON store.usage (meter_id, channel, start) WHERE method BETWEEN 1 AND 6;

CREATE TABLE apportionment_rule (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    medium         text NOT NULL CHECK (medium IN ('electricity', 'water', 'heat')),
    shared         text NOT NULL CHECK (shared IN ('loss', 'usage', 'fixed')),
    meter_id       bigint,
    quantity       bigint CHECK (quantity > 0),
    basis          text NOT NULL CHECK (basis IN ('area', 'household', 'usage', 'share')),
    participants   text NOT NULL CHECK (participants IN ('building', 'sub-meters', 'list')),
    building_id    bigint,
    excluded_kinds text[] NOT NULL DEFAULT '{}',
    only_occupied  boolean NOT NULL DEFAULT false,
    valid          daterange NOT NULL CHECK (NOT isempty(valid) AND NOT lower_inf(valid)),
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (project_id, name),
    CHECK ((shared = 'fixed') = (quantity IS NOT NULL)),
    CHECK (meter_id IS NOT NULL OR (shared = 'fixed' AND participants <> 'sub-meters')),
    CHECK ((participants = 'building') = (building_id IS NOT NULL)),
    CHECK (basis <> 'share' OR participants = 'list'),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id),
    FOREIGN KEY (project_id, building_id) REFERENCES building (project_id, id)
);
COMMENT ON COLUMN apportionment_rule.shared IS 'loss: of the master meter against its direct sub-meters; usage: all that the meter counts; fixed: a quantity for each period.';
COMMENT ON COLUMN apportionment_rule.quantity IS 'The fixed quantity, in the base unit of the medium.';
CALL gm.keep_audit('apportionment_rule');
CALL gm.guard('apportionment_rule', 'true');

-- Units that a rule names: those of a list with their shares, and those that are left out.
CREATE TABLE apportionment_member (
    rule_id    bigint NOT NULL,
    unit_id    bigint NOT NULL,
    project_id bigint NOT NULL,
    weight     bigint NOT NULL DEFAULT 1 CHECK (weight BETWEEN 0 AND 1000000000),
    excluded   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (rule_id, unit_id),
    FOREIGN KEY (project_id, rule_id) REFERENCES apportionment_rule (project_id, id) ON DELETE CASCADE,
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id)
);
CALL gm.guard('apportionment_member');

-- What was shared out. Never changed: late data makes another version of the same period.
CREATE TABLE apportionment_run (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    rule_id      bigint NOT NULL,
    period       daterange NOT NULL CHECK (NOT isempty(period) AND NOT lower_inf(period) AND NOT upper_inf(period)),
    version      int NOT NULL CHECK (version > 0),
    amount       bigint NOT NULL CHECK (amount >= 0),
    found        bigint NOT NULL,
    total_weight numeric(40) NOT NULL CHECK (total_weight > 0),
    estimated    boolean NOT NULL,
    inputs       jsonb NOT NULL,
    actor        text NOT NULL,
    settled_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (rule_id, period, version),
    FOREIGN KEY (project_id, rule_id) REFERENCES apportionment_rule (project_id, id),
    -- Nothing is shared out twice: another period of the same rule begins where the last one ended.
    CONSTRAINT one_period_at_a_time EXCLUDE USING gist (rule_id WITH =, period WITH &&) WHERE (version = 1)
);
COMMENT ON COLUMN apportionment_run.found IS 'What was measured, in the base unit; a negative loss is not shared out: the amount is 0.';
COMMENT ON COLUMN apportionment_run.inputs IS 'The rule and the usage of every meter that this run was made from.';
CALL gm.keep_audit('apportionment_run');
CALL gm.write_once('apportionment_run');
CALL gm.guard('apportionment_run', 'true');

-- One row for each unit and stay of its occupants, so that nobody learns from his share about those before and after.
CREATE TABLE apportionment_share (
    run_id     bigint NOT NULL,
    unit_id    bigint NOT NULL,
    from_on    date NOT NULL,
    until_on   date NOT NULL CHECK (until_on > from_on),
    project_id bigint NOT NULL,
    weight     numeric(40) NOT NULL CHECK (weight >= 0),
    quantity   bigint NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (run_id, unit_id, from_on),
    FOREIGN KEY (project_id, run_id) REFERENCES apportionment_run (project_id, id),
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id)
);
CREATE INDEX apportionment_share_of_unit ON apportionment_share (unit_id, from_on DESC);
CALL gm.write_once('apportionment_share');
CALL gm.guard('apportionment_share', 'EXISTS (SELECT FROM occupancy o WHERE o.unit_id = apportionment_share.unit_id
                                      AND o.person_id = ANY ((SELECT gm.persons())::bigint[])
                                      AND daterange(from_on, until_on) <@ o.valid)');
