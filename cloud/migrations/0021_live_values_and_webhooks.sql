-- Readings in the order in which they were stored, for streams and webhooks; subscriptions and deliveries of webhooks.

-- What one transaction stored for one project. `xid` is the transaction's own: which rows a reader has not seen yet he
-- knows from the snapshot that he read with before. A number from a sequence would not do: a later number can be
-- committed before an earlier one, and a reader who remembers the highest would never see the earlier one.
CREATE TABLE live_batch (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    stored_at  timestamptz NOT NULL DEFAULT now(),
    readings   int NOT NULL,
    points     bytea NOT NULL
);
COMMENT ON COLUMN live_batch.points IS 'Columns of meter ids, channels, times in ms since 1970, values and qualities, as cloud/metering/live_batches.py packs them.';
-- Compressing it would cost ingest more than the bytes are worth: it is gone after a quarter of an hour.
ALTER TABLE live_batch ALTER COLUMN points SET STORAGE EXTERNAL;
CREATE INDEX live_batch_by_xid ON live_batch (xid);
CALL gm.guard('live_batch');
REVOKE INSERT, UPDATE, DELETE ON live_batch FROM gatemeter_web;

-- Batches visible in `forgotten` are deleted: who read last before it may have missed some. `next_one`, taken at `taken_at`,
-- takes its place when it is old enough.
CREATE TABLE live_floor (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    forgotten pg_snapshot NOT NULL,
    next_one  pg_snapshot NOT NULL,
    taken_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO live_floor (forgotten, next_one) VALUES (pg_current_snapshot(), pg_current_snapshot());
GRANT SELECT ON live_floor TO gatemeter_web, gatemeter_worker;
GRANT UPDATE ON live_floor TO gatemeter_worker;

CREATE TABLE webhook (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id       bigint NOT NULL REFERENCES project,
    name             text NOT NULL DEFAULT '',
    url              text NOT NULL CHECK (length(url) BETWEEN 8 AND 2000),
    kinds            text[] NOT NULL CHECK (cardinality(kinds) > 0),
    secret           bytea NOT NULL,
    old_secret       bytea,
    old_secret_until timestamptz,
    active           boolean NOT NULL DEFAULT true,
    stopped_because  text NOT NULL DEFAULT '' CHECK (stopped_because IN ('', 'person', 'failing', 'gone')),
    failing_since    timestamptz,
    created_by       bigint,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (active = (stopped_because = '')),
    UNIQUE (project_id, id)
);
COMMENT ON COLUMN webhook.secret IS 'Sealed with the keys file; the old one signs too until `old_secret_until`.';
COMMENT ON COLUMN webhook.failing_since IS 'Since when no delivery has come through.';
CALL gm.keep_audit('webhook', 'project_id', '{secret,old_secret}');
CALL gm.guard('webhook');

CREATE TABLE webhook_event (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    project_id bigint NOT NULL,
    kind       text NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_event_by_age ON webhook_event (created_at);
CALL gm.guard('webhook_event');

CREATE TABLE webhook_delivery (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id    bigint NOT NULL,
    webhook_id    bigint NOT NULL,
    event_id      uuid NOT NULL REFERENCES webhook_event ON DELETE CASCADE,
    state         text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts      int NOT NULL DEFAULT 0,
    next_try_at   timestamptz NOT NULL DEFAULT now(),
    response_code int,
    error         text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    UNIQUE (webhook_id, event_id),
    FOREIGN KEY (project_id, webhook_id) REFERENCES webhook (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN webhook_delivery.next_try_at IS 'While an attempt is under way: when another worker may take it for dead.';
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, next_try_at) WHERE state = 'waiting';
CREATE INDEX webhook_delivery_of_project ON webhook_delivery (project_id, id DESC);
CREATE INDEX webhook_delivery_of_event ON webhook_delivery (event_id);
CALL gm.guard('webhook_delivery');

-- Up to where the readings of a project are told to its webhooks.
CREATE TABLE webhook_reading_position (
    project_id bigint PRIMARY KEY REFERENCES project,
    seen       pg_snapshot NOT NULL
);
CALL gm.guard('webhook_reading_position');

CREATE FUNCTION gm.has_webhook(of_project bigint, wanted text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT EXISTS (SELECT FROM webhook WHERE project_id = of_project AND active AND wanted = ANY (kinds)) $$;

-- An event for everybody who subscribed to its kind, in the transaction of what happened. NULL when nobody did.
CREATE FUNCTION gm.emit(of_project bigint, of_kind text, of_payload jsonb) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    event uuid;
BEGIN
    IF NOT gm.has_webhook(of_project, of_kind) THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhook_event (project_id, kind, payload) VALUES (of_project, of_kind, of_payload) RETURNING id INTO event;
    INSERT INTO webhook_delivery (project_id, webhook_id, event_id)
    SELECT of_project, id, event FROM webhook
    WHERE project_id = of_project AND active AND of_kind = ANY (kinds) ORDER BY id;
    RETURN event;
END
$$;
REVOKE ALL ON FUNCTION gm.emit(bigint, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.emit(bigint, text, jsonb) TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

CREATE FUNCTION gm.tell_exceptions(ids bigint[], of_kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT project_id, jsonb_build_object('exceptions', jsonb_agg(told ORDER BY id)) AS payload
        FROM (SELECT x.project_id, x.id, (row_number() OVER (PARTITION BY x.project_id ORDER BY x.id) - 1) / 100 AS part,
                     jsonb_build_object('id', x.id, 'meter_id', x.meter_id, 'channel', c.code, 'rule', x.rule,
                                        'from_at', x.from_at, 'until_at', x.until_at, 'state', x.state,
                                        'reason', x.reason) AS told
              FROM meter_exception x LEFT JOIN channel c ON c.id = x.channel WHERE x.id = ANY (ids)) AS parts
        GROUP BY project_id, part ORDER BY project_id, part
    LOOP
        PERFORM gm.emit(one.project_id, of_kind, one.payload);
    END LOOP;
END
$$;

-- Findings are written by several statements of ingest, derivation and validation: here all of them pass.
CREATE FUNCTION gm.exceptions_opened() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT FROM webhook WHERE active AND 'exception.opened' = ANY (kinds)) THEN
        PERFORM gm.tell_exceptions(ARRAY(SELECT id FROM new_rows WHERE state = 'open'), 'exception.opened');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_opened AFTER INSERT ON meter_exception REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.exceptions_opened();

CREATE FUNCTION gm.exceptions_decided() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF EXISTS (SELECT FROM webhook WHERE active AND kinds && ARRAY['exception.opened', 'exception.decided']) THEN
        PERFORM gm.tell_exceptions(ARRAY(SELECT n.id FROM new_rows n JOIN old_rows o USING (id)
                                         WHERE o.state <> n.state AND n.state <> 'open'), 'exception.decided');
        PERFORM gm.tell_exceptions(ARRAY(SELECT n.id FROM new_rows n JOIN old_rows o USING (id)
                                         WHERE o.state <> n.state AND n.state = 'open'), 'exception.opened');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_decided AFTER UPDATE ON meter_exception REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.exceptions_decided();

CREATE FUNCTION gm.usage_told() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    one record;
BEGIN
    IF NOT EXISTS (SELECT FROM webhook WHERE active AND 'usage.changed' = ANY (kinds)) THEN
        RETURN NULL;
    END IF;
    FOR one IN
        SELECT project_id, jsonb_build_object('changes', jsonb_agg(told ORDER BY meter_id)) AS payload
        FROM (SELECT u.project_id, u.meter_id,
                     (row_number() OVER (PARTITION BY u.project_id ORDER BY u.meter_id) - 1) / 500 AS part,
                     jsonb_build_object('meter_id', u.meter_id, 'channel', c.code, 'from', u.from_at, 'to', u.until_at) AS told
              FROM new_rows u LEFT JOIN channel c ON c.id = u.channel) AS parts
        GROUP BY project_id, part ORDER BY project_id, part
    LOOP
        PERFORM gm.emit(one.project_id, 'usage.changed', one.payload);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER tell_of_usage AFTER INSERT ON store.changed_usage REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION gm.usage_told();
