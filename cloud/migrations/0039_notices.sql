-- What is told to people: an outbox of notices, what each person wants to get, and how a project writes.

CREATE TABLE notice (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    person_id    bigint NOT NULL,
    account_id   bigint,
    kind         text NOT NULL CHECK (kind ~ '^[a-z][a-z.-]{1,39}$'),
    dedupe_key   text NOT NULL CHECK (length(dedupe_key) BETWEEN 1 AND 200),
    channel      text NOT NULL DEFAULT 'email' CHECK (channel IN ('email')),
    language     text NOT NULL CHECK (length(language) BETWEEN 2 AND 20),
    subject      text NOT NULL CHECK (length(subject) BETWEEN 1 AND 300 AND subject !~ '[[:cntrl:]]'),
    paragraphs   text[] NOT NULL CHECK (cardinality(paragraphs) BETWEEN 1 AND 50),
    link         text NOT NULL DEFAULT '' CHECK (link = '' OR link ~ '^/[^/\s][^\s]*$'),
    about        text NOT NULL DEFAULT '' CHECK (length(about) <= 40),
    about_id     bigint,
    batch        text NOT NULL DEFAULT '' CHECK (length(batch) <= 40),
    state        text NOT NULL DEFAULT 'queued'
                 CHECK (state IN ('queued', 'sending', 'sent', 'failed', 'given_up', 'suppressed')),
    reason       text NOT NULL DEFAULT '' CHECK (length(reason) <= 40),
    error        text NOT NULL DEFAULT '' CHECK (length(error) <= 500),
    attempts     int NOT NULL DEFAULT 0,
    next_try_at  timestamptz NOT NULL DEFAULT now(),
    message_id   uuid NOT NULL DEFAULT gen_random_uuid(),
    sent_to      text NOT NULL DEFAULT '' CHECK (length(sent_to) <= 300),
    created_at   timestamptz NOT NULL DEFAULT now(),
    queued_at    timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    CHECK ((about = '') = (about_id IS NULL)),
    CHECK ((ended_at IS NOT NULL) = (state IN ('sent', 'given_up', 'suppressed'))),
    CHECK (CASE state WHEN 'sent' THEN reason = '' WHEN 'given_up' THEN reason <> ''
                      WHEN 'suppressed' THEN reason <> '' ELSE true END),
    UNIQUE (project_id, dedupe_key),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id),
    FOREIGN KEY (project_id, account_id) REFERENCES account (project_id, id)
);
COMMENT ON TABLE notice IS 'One thing told to one person. The address is not kept here: it is looked up in person when the notice is sent.';
COMMENT ON COLUMN notice.state IS 'queued: waits for its first try; sending: a worker has it; failed: waits for another try; sent, given_up, suppressed: ended.';
COMMENT ON COLUMN notice.reason IS 'Why it failed, was given up or suppressed, as a code; `error` is what the mail server said.';
COMMENT ON COLUMN notice.next_try_at IS 'While it is sending: when another worker may take it for left behind.';
COMMENT ON COLUMN notice.queued_at IS 'Since when it waits: from its beginning, or since somebody sent it again.';
COMMENT ON COLUMN notice.message_id IS 'The Message-ID of every attempt, so that a receiver knows a repetition.';
COMMENT ON COLUMN notice.batch IS 'What many notices were said for at once, such as bill-run:7.';
COMMENT ON COLUMN notice.sent_to IS 'The address it went to, masked.';
CREATE INDEX notice_due ON notice (next_try_at, id) WHERE state IN ('queued', 'sending', 'failed');
CREATE INDEX notice_of_project ON notice (project_id, id DESC);
CREATE INDEX notice_of_person ON notice (person_id, id DESC);
CREATE INDEX notice_of_account ON notice (account_id, id DESC) WHERE account_id IS NOT NULL;
CREATE INDEX notice_about ON notice (project_id, about, about_id) WHERE about_id IS NOT NULL;
CREATE INDEX notice_of_batch ON notice (project_id, batch, id DESC) WHERE batch <> '';
CREATE INDEX notice_by_age ON notice (created_at);
CREATE INDEX notice_given_up ON notice (ended_at) WHERE state = 'given_up';
CALL gm.guard('notice', 'person_id = ANY ((SELECT gm.persons())::bigint[])');
REVOKE DELETE ON notice FROM gatemeter_web;

-- What a person wants. Without a row: everything, in the language of the project.
CREATE TABLE notice_preference (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL,
    person_id  bigint NOT NULL UNIQUE,
    language   text CHECK (length(language) BETWEEN 2 AND 20),
    declined   text[] NOT NULL DEFAULT '{}' CHECK (cardinality(declined) <= 50),
    changed_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, person_id) REFERENCES person (project_id, id)
);
COMMENT ON COLUMN notice_preference.declined IS 'Kinds of notices that the person does not want by e-mail; what must be told is sent all the same.';
CALL gm.keep_audit('notice_preference');
CALL gm.guard('notice_preference', 'person_id = ANY ((SELECT gm.persons())::bigint[])');
CREATE POLICY resident_chooses ON notice_preference FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND person_id = ANY ((SELECT gm.persons())::bigint[]));
CREATE POLICY resident_changes ON notice_preference FOR UPDATE TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND person_id = ANY ((SELECT gm.persons())::bigint[]))
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND person_id = ANY ((SELECT gm.persons())::bigint[]));

-- How a project writes to people. Without a row: everything by e-mail, in Chinese, bills when somebody asks for it.
CREATE TABLE notice_setting (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id     bigint NOT NULL UNIQUE REFERENCES project,
    by_email       boolean NOT NULL DEFAULT true,
    bills_on_issue boolean NOT NULL DEFAULT false,
    language       text NOT NULL DEFAULT 'zh-CN' CHECK (length(language) BETWEEN 2 AND 20),
    sender_name    text NOT NULL DEFAULT '' CHECK (length(sender_name) <= 100 AND sender_name !~ '[[:cntrl:]]'),
    reply_to       text NOT NULL DEFAULT '' CHECK (length(reply_to) <= 254 AND reply_to !~ '[[:cntrl:]]')
);
COMMENT ON COLUMN notice_setting.by_email IS 'Whether the project sends e-mail at all; what must be told is then told in the application only.';
COMMENT ON COLUMN notice_setting.bills_on_issue IS 'Whether the bills of a run are sent as soon as they are issued.';
CALL gm.keep_audit('notice_setting');
CALL gm.guard('notice_setting', 'true');

ALTER TABLE bill_run ADD COLUMN mail_bills boolean;
COMMENT ON COLUMN bill_run.mail_bills IS 'Whether its bills are sent by e-mail as soon as they are issued; NULL: as the project has set it.';

-- Of all projects together, for metrics and the doctor, who see no rows.
CREATE FUNCTION gm.notices_waiting(OUT notices_due bigint, OUT notice_age_s bigint, OUT notices_given_up bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT (SELECT count(*) FROM notice WHERE state IN ('queued', 'sending', 'failed')),
           (SELECT extract(epoch FROM now() - min(queued_at))::bigint FROM notice
            WHERE state IN ('queued', 'sending', 'failed')),
           (SELECT count(*) FROM notice
            WHERE state = 'given_up' AND ended_at > now() - interval '1 day')
$$;
REVOKE EXECUTE ON FUNCTION gm.notices_waiting() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.notices_waiting() TO gatemeter_web, gatemeter_ingest, gatemeter_worker;
