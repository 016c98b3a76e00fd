-- Roles, schemas, who is asking, and the audit trail. Everything later leans on these.

-- Three processes, three roles. None owns a table, none may bypass row-level security.
-- They cannot log in until `gatemeter db grant-login` gives them a password.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['gatemeter_web', 'gatemeter_ingest', 'gatemeter_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this server is migrated at the same moment
            END;
        END IF;
    END LOOP;
END $$;

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE SCHEMA gm;     -- functions of the platform
CREATE SCHEMA store;  -- time series; read by people only through the guarded views of the same name

GRANT USAGE ON SCHEMA public, gm TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
GRANT USAGE ON SCHEMA store TO gatemeter_ingest, gatemeter_worker;

CREATE DOMAIN money_amount AS numeric(16, 2);

-- Who is asking. Set for one transaction by cloud/kit/db.py; nothing set shows nothing.
--   gm.kind       system (worker, ingest) | sign-in (identity only) | staff | resident
--   gm.projects   ids of the projects the asker may see, comma-separated
--   gm.persons    ids of the person records that are the resident, comma-separated
--   gm.user_id    the signed-in user; gm.request_id names the request or job
CREATE FUNCTION gm.kind() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(current_setting('gm.kind', true), '') $$;

CREATE FUNCTION gm.projects() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(string_to_array(nullif(current_setting('gm.projects', true), ''), ',')::bigint[], '{}') $$;

CREATE FUNCTION gm.persons() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(string_to_array(nullif(current_setting('gm.persons', true), ''), ',')::bigint[], '{}') $$;

CREATE FUNCTION gm.user_id() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('gm.user_id', true), '')::bigint $$;

CREATE TABLE audit_entry (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    project_id  bigint,
    actor_kind  text NOT NULL,
    user_id     bigint,
    request_id  text,
    table_name  text NOT NULL,
    row_id      text NOT NULL,
    action      text NOT NULL CHECK (action IN ('insert', 'update', 'delete')),
    before      jsonb,
    after       jsonb
);
COMMENT ON TABLE audit_entry IS 'Every change of a business row: who, when, what. Written by triggers, never changed.';
CREATE INDEX audit_entry_of_row ON audit_entry (table_name, row_id, id);
CREATE INDEX audit_entry_of_project ON audit_entry (project_id, id);

-- Statement-level, so that a run over 100,000 rows writes its entries in one statement.
-- Trigger arguments name the columns that must not be copied (secrets, sealed fields).
CREATE FUNCTION gm.audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, after)
        SELECT (row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, row ->> 'id', 'insert', row - TG_ARGV[1:]
        FROM (SELECT to_jsonb(n) AS row FROM new_rows n) AS inserted;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, before, after)
        SELECT (new_row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, new_row ->> 'id', 'update', changed.before, changed.after
        FROM (SELECT to_jsonb(o) AS old_row, to_jsonb(n) AS new_row
              FROM old_rows o JOIN new_rows n ON n.id = o.id) AS pair
        CROSS JOIN LATERAL (
            SELECT jsonb_object_agg(key, CASE WHEN key = ANY (TG_ARGV[1:]) THEN '"(kept secret)"'::jsonb ELSE old_row -> key END)
                       AS before,
                   jsonb_object_agg(key, CASE WHEN key = ANY (TG_ARGV[1:]) THEN '"(kept secret)"'::jsonb ELSE value END)
                       AS after
            FROM jsonb_each(new_row) WHERE old_row -> key IS DISTINCT FROM value) AS changed
        WHERE changed.after IS NOT NULL;
    ELSE
        INSERT INTO audit_entry (project_id, actor_kind, user_id, request_id, table_name, row_id, action, before)
        SELECT (row ->> TG_ARGV[0])::bigint, gm.kind(), gm.user_id(), current_setting('gm.request_id', true),
               TG_TABLE_NAME, row ->> 'id', 'delete', row - TG_ARGV[1:]
        FROM (SELECT to_jsonb(o) AS row FROM old_rows o) AS deleted;
    END IF;
    RETURN NULL;
END
$$;

-- Installs the audit triggers. `project_column` is where the row names its project; `secrets` are never copied.
CREATE PROCEDURE gm.keep_audit(tab regclass, project_column text DEFAULT 'project_id', secrets text[] DEFAULT '{}')
LANGUAGE plpgsql AS
$$
DECLARE
    arguments text;
BEGIN
    SELECT string_agg(quote_literal(argument), ', ') INTO arguments
    FROM unnest(array_prepend(project_column, secrets)) AS argument;
    EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION gm.audit(%s)', tab, arguments);
    EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION gm.audit(%s)', tab, arguments);
    EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION gm.audit(%s)', tab, arguments);
END
$$;

-- Installs row-level security on a table that has a project_id. Staff see and change rows of their projects,
-- system processes all rows, residents read what `resident` (a condition on the row) lets them read.
CREATE PROCEDURE gm.guard(tab regclass, resident text DEFAULT NULL, project_column text DEFAULT 'project_id')
LANGUAGE plpgsql AS
$$
DECLARE
    in_scope text := format('%I = ANY ((SELECT gm.projects())::bigint[])', project_column);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', tab);
    EXECUTE format('CREATE POLICY staff ON %s TO gatemeter_web, gatemeter_worker
                    USING ((SELECT gm.kind()) = ''staff'' AND %s) WITH CHECK ((SELECT gm.kind()) = ''staff'' AND %s)',
                   tab, in_scope, in_scope);
    EXECUTE format('CREATE POLICY system ON %s TO gatemeter_ingest, gatemeter_worker
                    USING ((SELECT gm.kind()) = ''system'') WITH CHECK ((SELECT gm.kind()) = ''system'')', tab);
    IF resident IS NOT NULL THEN
        EXECUTE format('CREATE POLICY resident ON %s FOR SELECT TO gatemeter_web
                        USING ((SELECT gm.kind()) = ''resident'' AND %s AND (%s))', tab, in_scope, resident);
    END IF;
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO gatemeter_web, gatemeter_worker', tab);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO gatemeter_ingest', tab);
END
$$;

-- For records that are written once.
CREATE FUNCTION gm.refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION '% rows are written once and never changed', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE PROCEDURE gm.write_once(tab regclass) LANGUAGE plpgsql AS
$$
BEGIN
    EXECUTE format('CREATE TRIGGER write_once BEFORE UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION gm.refuse_change()', tab);
END
$$;

CALL gm.write_once('audit_entry');
ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY;
CREATE POLICY staff ON audit_entry FOR SELECT TO gatemeter_web, gatemeter_worker
    USING ((SELECT gm.kind()) = 'staff' AND project_id = ANY ((SELECT gm.projects())::bigint[]));
GRANT SELECT ON audit_entry TO gatemeter_web, gatemeter_worker;

-- Durable work. Domain events are jobs too: a lower floor writes one in its own transaction, a higher floor does it.
CREATE TABLE job (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint,
    kind         text NOT NULL,
    dedupe_key   text,
    payload      jsonb NOT NULL DEFAULT '{}',
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    run_at       timestamptz NOT NULL DEFAULT now(),
    attempts     int NOT NULL DEFAULT 0,
    max_attempts int NOT NULL DEFAULT 5,
    progress     int NOT NULL DEFAULT 0,
    total        int,
    error        text,
    result       jsonb,
    created_by   bigint,
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz
);
COMMENT ON COLUMN job.dedupe_key IS 'At most one unfinished job of a kind and key: asking twice is asking once.';
CREATE UNIQUE INDEX job_unfinished_key ON job (kind, dedupe_key) WHERE state IN ('queued', 'running');
CREATE INDEX job_due ON job (run_at, id) WHERE state = 'queued';
CALL gm.guard('job');

-- Answers of requests that create something, kept so that a repeated request gets the first answer again.
CREATE TABLE idempotency_key (
    user_id      bigint NOT NULL,
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
    request_hash bytea NOT NULL,
    status       int,
    answer       jsonb,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
ALTER TABLE idempotency_key ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON idempotency_key TO gatemeter_web USING (user_id = (SELECT gm.user_id()));
CREATE POLICY system ON idempotency_key TO gatemeter_worker USING ((SELECT gm.kind()) = 'system');
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_key TO gatemeter_web;
GRANT SELECT, DELETE ON idempotency_key TO gatemeter_worker;
