-- What is done to a meter as a thing: exchanges and removals with their readings, seals, verifications; and its masters.

-- Every exchange and removal as it was entered, so that it can be undone and looked up after that.
CREATE TABLE meter_procedure (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL REFERENCES project,
    meter_id      bigint NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('exchanged', 'multiplier', 'removed')),
    at            timestamptz NOT NULL,
    details       jsonb NOT NULL,
    note          text NOT NULL DEFAULT '',
    actor         text NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    undone_at     timestamptz,
    undone_by     text NOT NULL DEFAULT '',
    undone_reason text NOT NULL DEFAULT '',
    CHECK ((undone_at IS NULL) = (undone_reason = '')),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN meter_procedure.details IS 'readings: [channel, final, initial] in the base unit; bindings ended and made; the verification that was due before.';
CREATE INDEX meter_procedure_of_meter ON meter_procedure (meter_id, id DESC);
CALL gm.keep_audit('meter_procedure');
CALL gm.guard('meter_procedure');

CREATE TABLE meter_seal (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL REFERENCES project,
    meter_id       bigint NOT NULL,
    number         text NOT NULL CHECK (length(number) BETWEEN 1 AND 64),
    place          text NOT NULL DEFAULT '',
    applied_at     timestamptz NOT NULL,
    applied_by     text NOT NULL,
    removed_at     timestamptz CHECK (removed_at >= applied_at),
    removed_by     text NOT NULL DEFAULT '',
    removed_reason text NOT NULL DEFAULT '',
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK ((removed_at IS NULL) = (removed_reason = '')),
    UNIQUE (project_id, number),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON COLUMN meter_seal.place IS 'Where on the meter: terminal cover, case, coupling.';
CREATE INDEX meter_seal_of_meter ON meter_seal (meter_id);
CALL gm.keep_audit('meter_seal');
CALL gm.guard('meter_seal');

CREATE TABLE meter_verification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    meter_id    bigint NOT NULL,
    verified_on date NOT NULL,
    result      text NOT NULL CHECK (result IN ('passed', 'failed')),
    certificate text NOT NULL DEFAULT '',
    next_due    date CHECK (next_due > verified_on),
    note        text NOT NULL DEFAULT '',
    actor       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (result = 'passed' OR next_due IS NULL),
    UNIQUE (meter_id, verified_on),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
CALL gm.keep_audit('meter_verification');
CALL gm.guard('meter_verification', 'meter_id IN (SELECT mine.meter_id FROM gm.my_meters() mine)');

CREATE INDEX meter_of_parent ON meter (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX meter_by_verification_due ON meter (project_id, verification_due) WHERE verification_due IS NOT NULL;

-- Masters and their sub-meters are a tree of one medium. One change of a project's tree at a time: of two that are
-- under way at once neither sees the other's half of a circle.
CREATE FUNCTION gm.check_meter_tree() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock((x'676d06'::int::bigint << 40) + NEW.project_id);
    IF EXISTS (
        WITH RECURSIVE above (id, parent_id) AS (
            SELECT m.id, m.parent_id FROM meter m WHERE m.id = NEW.parent_id
            UNION
            SELECT m.id, m.parent_id FROM above a JOIN meter m ON m.id = a.parent_id)
        SELECT FROM above WHERE above.id = NEW.id)
    THEN
        RAISE EXCEPTION 'a meter cannot be above itself' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF EXISTS (SELECT FROM meter m WHERE (m.id = NEW.parent_id OR m.parent_id = NEW.id) AND m.medium <> NEW.medium) THEN
        RAISE EXCEPTION 'a master meter and its sub-meters measure the same medium'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER tree_of_new_meter AFTER INSERT ON meter
    FOR EACH ROW WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION gm.check_meter_tree();
CREATE CONSTRAINT TRIGGER tree_of_changed_meter AFTER UPDATE OF parent_id, medium ON meter
    FOR EACH ROW WHEN (NEW.parent_id IS DISTINCT FROM OLD.parent_id OR NEW.medium <> OLD.medium)
    EXECUTE FUNCTION gm.check_meter_tree();
