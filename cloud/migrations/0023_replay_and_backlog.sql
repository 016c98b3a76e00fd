-- What waits: messages and readings that people decide about, usage that is not derived yet, and how long it waits.

-- What staff decided about messages that could not be taken and readings without a place. Nothing is deleted: what was
-- put away names its decision, and taking the decision back puts it where it was.
CREATE TABLE inbox_decision (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint REFERENCES project,
    subject    text NOT NULL CHECK (subject IN ('dead-letters', 'unclaimed-readings')),
    action     text NOT NULL CHECK (action IN ('discard', 'correct-clock')),
    ahead_s    bigint CHECK (ahead_s > 0),
    wanted     jsonb NOT NULL DEFAULT '{}',
    found      int NOT NULL DEFAULT 0 CHECK (found >= 0),
    reason     text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    actor      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    undone_at  timestamptz,
    undone_by  text,
    CHECK ((ahead_s IS NOT NULL) = (action = 'correct-clock')),
    CHECK ((undone_at IS NULL) = (undone_by IS NULL))
);
COMMENT ON COLUMN inbox_decision.project_id IS 'NULL: messages of no known project; only administration decides about them.';
COMMENT ON COLUMN inbox_decision.ahead_s IS 'By how much the clock was ahead: the readings are placed so much earlier.';
COMMENT ON COLUMN inbox_decision.wanted IS 'What it was decided for: the filters.';
CREATE INDEX inbox_decision_of_project ON inbox_decision (project_id, id DESC);
CALL gm.keep_audit('inbox_decision');
CALL gm.guard('inbox_decision');

ALTER TABLE dead_letter ADD COLUMN last_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE dead_letter ADD COLUMN tried_at timestamptz;
ALTER TABLE dead_letter ADD COLUMN decision_id bigint REFERENCES inbox_decision;
UPDATE dead_letter SET last_at = received_at;
COMMENT ON COLUMN dead_letter.received_at IS 'When it came first; last_at: when it came last; tried_at: when it was replayed in vain.';
COMMENT ON COLUMN dead_letter.decision_id IS 'It was discarded.';
CREATE INDEX dead_letter_waiting ON dead_letter (id) WHERE replayed_at IS NULL AND decision_id IS NULL;
CREATE INDEX dead_letter_of_decision ON dead_letter (decision_id) WHERE decision_id IS NOT NULL;

ALTER TABLE unclaimed_reading ADD COLUMN decision_id bigint REFERENCES inbox_decision;
COMMENT ON COLUMN unclaimed_reading.decision_id IS 'It was discarded, or is placed with its time corrected.';
CREATE INDEX unclaimed_reading_of_decision ON unclaimed_reading (decision_id) WHERE decision_id IS NOT NULL;

-- Since when usage waits. A window that is put back keeps the age of what it comes from.
ALTER TABLE store.dirty_window ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE store.changed_usage ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();

-- Deriving usage is work of all projects together, and staff cannot write a job that belongs to none: this one they may
-- ask for, and nothing else. Asking again while it waits or runs is asking once.
CREATE FUNCTION gm.ask_for_usage() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF gm.kind() NOT IN ('staff', 'system') THEN
        RAISE EXCEPTION 'only staff ask for usage' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO job (kind, dedupe_key, created_by) VALUES ('metering.derive-usage', ':all', gm.user_id())
    ON CONFLICT (kind, dedupe_key) WHERE state IN ('queued', 'running') DO NOTHING;
    IF FOUND THEN
        PERFORM pg_notify('gm_job', '');
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION gm.ask_for_usage() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.ask_for_usage() TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

-- How much waits in all projects together, and for how long: for metrics and `gatemeter doctor`, whatever their role.
-- Numbers alone: what they are numbers of stays behind row-level security.
CREATE FUNCTION gm.backlog(
    OUT dirty_windows bigint, OUT dirty_age_s bigint, OUT unsettled bigint, OUT unsettled_age_s bigint,
    OUT dead_letters bigint, OUT dead_letter_age_s bigint, OUT unclaimed bigint, OUT unclaimed_age_s bigint,
    OUT jobs_due bigint, OUT job_age_s bigint, OUT jobs_failed bigint, OUT gateways bigint, OUT heard_age_s bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT w.n, w.age, c.n, c.age, l.n, l.age, u.n, u.age, j.n, j.age, f.n, g.n, g.age
    FROM (SELECT count(*) AS n, extract(epoch FROM now() - min(created_at))::bigint AS age FROM store.dirty_window) AS w,
         (SELECT count(*) AS n, extract(epoch FROM now() - min(created_at))::bigint AS age FROM store.changed_usage) AS c,
         (SELECT count(*) AS n, extract(epoch FROM now() - min(received_at))::bigint AS age FROM dead_letter
          WHERE replayed_at IS NULL AND decision_id IS NULL) AS l,
         (SELECT count(*) AS n, extract(epoch FROM now() - min(received_at))::bigint AS age FROM unclaimed_reading
          WHERE decision_id IS NULL) AS u,
         (SELECT count(*) AS n, extract(epoch FROM now() - min(run_at))::bigint AS age FROM job
          WHERE state = 'queued' AND run_at <= now()) AS j,
         (SELECT count(*) AS n FROM job WHERE state = 'failed' AND finished_at > now() - interval '1 day') AS f,
         (SELECT count(*) AS n, extract(epoch FROM now() - max(s.seen_at))::bigint AS age
          FROM gateway LEFT JOIN gateway_state s ON s.gateway_id = gateway.id) AS g
$$;
REVOKE EXECUTE ON FUNCTION gm.backlog() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.backlog() TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
