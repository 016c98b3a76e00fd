-- Bills by estimate: what a run may estimate, which charges rest on estimates, and what makes them be rated again.

ALTER TABLE bill_run
    DROP CONSTRAINT bill_run_open_exceptions_check,
    ADD CONSTRAINT bill_run_open_exceptions_check CHECK (open_exceptions IN ('ask', 'bill', 'estimate')),
    ADD COLUMN missing_readings text NOT NULL DEFAULT 'ask' CHECK (missing_readings IN ('ask', 'estimate')),
    ADD COLUMN estimate_limit int CHECK (estimate_limit BETWEEN 0 AND 120),
    ADD COLUMN estimate_reason text NOT NULL DEFAULT '',
    ADD COLUMN estimated int NOT NULL DEFAULT 0,
    ADD CONSTRAINT final_estimate_has_a_reason CHECK (
        account_id IS NULL OR 'estimate' NOT IN (open_exceptions, missing_readings) OR length(estimate_reason) > 0);
COMMENT ON COLUMN bill_run.open_exceptions IS 'ask: an account whose readings have open findings is left out with that reason; bill: it is billed all the same; estimate: what is in doubt is estimated.';
COMMENT ON COLUMN bill_run.missing_readings IS 'ask: an account without readings at both ends of the period is left out with that reason; estimate: what is missing is estimated.';
COMMENT ON COLUMN bill_run.estimate_limit IS 'So many bills in a row may be estimated; NULL: as many as the terms of payment say.';
COMMENT ON COLUMN bill_run.estimated IS 'Bills with an estimated charge, of those that are billed.';

-- What holds of a charge is its latest revision, also whether it is estimated.
ALTER TABLE charge
    ADD COLUMN estimate text CHECK (estimate IN ('open', 'between')),
    ADD COLUMN estimated_days int CHECK (estimated_days > 0),
    ADD CONSTRAINT estimate_has_days CHECK ((estimate IS NULL) = (estimated_days IS NULL));
COMMENT ON COLUMN charge.estimate IS 'open: no reading bounds the usage of the period yet; between: it is a share of what a register advanced between two readings; NULL: read at both ends.';
COMMENT ON COLUMN charge.estimated_days IS 'Days without measured usage, a begun one counts.';
CREATE INDEX charge_estimated ON charge (meter_id) WHERE estimate IS NOT NULL;
CREATE INDEX charge_open_estimates ON charge (project_id, agreement_id) WHERE estimate = 'open';
ALTER TABLE adjustment
    ADD COLUMN estimate text CHECK (estimate IN ('open', 'between')),
    ADD COLUMN estimated_days int CHECK (estimated_days > 0),
    ADD CONSTRAINT estimate_has_days CHECK ((estimate IS NULL) = (estimated_days IS NULL));

ALTER TABLE billing_policy
    ADD COLUMN estimate_bills int NOT NULL DEFAULT 3 CHECK (estimate_bills BETWEEN 0 AND 120),
    ADD COLUMN estimate_days int NOT NULL DEFAULT 60 CHECK (estimate_days BETWEEN 1 AND 3660);
COMMENT ON COLUMN billing_policy.estimate_bills IS 'At most so many bills of a service in a row may be estimated; then a person looks at the account.';
COMMENT ON COLUMN billing_policy.estimate_days IS 'A service with more estimated days is shown to staff as estimated for too long.';

-- Usage that changes while drafts are made is noted even where no charge is to be seen yet: the draft that reads the
-- old usage may be written in a transaction that is not over. A run becomes `running` under the exclusive form of this
-- lock: whoever changed usage before it saw that is done, everybody after sees it.
CREATE FUNCTION gm.usage_note_lock() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 5402137713000034::bigint $$;
GRANT EXECUTE ON FUNCTION gm.usage_note_lock() TO PUBLIC;

CREATE OR REPLACE FUNCTION gm.usage_came_late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(gm.usage_note_lock());
    -- A statement of its own: it sees what was committed while the lock was waited for.
    INSERT INTO late_usage (project_id, meter_id, from_at)
    SELECT u.project_id, u.meter_id, min(u.from_at)
    FROM new_rows u JOIN project p ON p.id = u.project_id
    WHERE EXISTS (SELECT FROM charge c WHERE c.meter_id = u.meter_id
                  AND (upper(c.period)::timestamp AT TIME ZONE p.time_zone) > u.from_at)
       OR EXISTS (SELECT FROM bill_run r WHERE r.project_id = u.project_id AND r.state = 'running'
                  AND (upper(r.period)::timestamp AT TIME ZONE p.time_zone) > u.from_at)
    GROUP BY u.project_id, u.meter_id;
    RETURN NULL;
END
$$;

-- What was estimated because of a finding is rated again once the finding is decided or found no more.
CREATE FUNCTION gm.finding_was_decided() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(gm.usage_note_lock());
    INSERT INTO late_usage (project_id, meter_id, from_at)
    SELECT p.id, OLD.meter_id, least(OLD.from_at, e.from_at)
    FROM project p,
         LATERAL (SELECT min(lower(c.period)::timestamp AT TIME ZONE p.time_zone) AS from_at FROM charge c
                  WHERE c.meter_id = OLD.meter_id AND c.estimate IS NOT NULL
                    AND (upper(c.period)::timestamp AT TIME ZONE p.time_zone) >= OLD.from_at
                    AND (lower(c.period)::timestamp AT TIME ZONE p.time_zone) <= OLD.until_at) AS e
    WHERE p.id = OLD.project_id
      AND (e.from_at IS NOT NULL
           OR EXISTS (SELECT FROM bill_run r WHERE r.project_id = p.id AND r.state = 'running'
                      AND (upper(r.period)::timestamp AT TIME ZONE p.time_zone) >= OLD.from_at));
    RETURN NULL;
END
$$;
CREATE TRIGGER decided AFTER UPDATE OF state ON meter_exception
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION gm.finding_was_decided();
CREATE TRIGGER found_no_more AFTER DELETE ON meter_exception FOR EACH ROW EXECUTE FUNCTION gm.finding_was_decided();
