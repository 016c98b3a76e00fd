-- A bill run is looked at before it is issued: preview, approval, issue.

ALTER TABLE bill_run
    ADD COLUMN issue_at_once boolean NOT NULL DEFAULT false,
    ADD COLUMN open_exceptions text NOT NULL DEFAULT 'ask' CHECK (open_exceptions IN ('ask', 'bill')),
    ADD COLUMN approved_by bigint,
    ADD COLUMN approved_at timestamptz,
    ADD COLUMN issue_job_id bigint;
COMMENT ON COLUMN bill_run.state IS 'running: drafts are made; preview: people look at them; approved: a job issues them; issued; failed: making drafts broke off and may be repeated; cancelled: the drafts are gone.';
COMMENT ON COLUMN bill_run.open_exceptions IS 'ask: an account whose readings have open findings is left out with that reason; bill: it is billed all the same.';
CREATE INDEX bill_drafts ON bill (run_id, account_id) WHERE state = 'draft';
CREATE INDEX bill_of_run ON bill (run_id);
