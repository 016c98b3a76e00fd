-- All bills of a run as one ZIP of PDFs, written by a job and kept for a while to be fetched.

CREATE TABLE bill_archive (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    run_id      bigint NOT NULL,
    language    text NOT NULL CHECK (language IN ('zh-CN', 'en')),
    public_url  text,
    job_id      bigint,
    bills       int NOT NULL DEFAULT 0 CHECK (bills >= 0),
    bytes       bigint NOT NULL DEFAULT 0 CHECK (bytes >= 0),
    created_by  bigint,
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (project_id, id),
    CONSTRAINT one_archive_per_language UNIQUE (run_id, language),
    FOREIGN KEY (project_id, run_id) REFERENCES bill_run (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN bill_archive.public_url IS 'Where the codes on the bills lead; NULL: nowhere, and there are none.';
COMMENT ON COLUMN bill_archive.finished_at IS 'When it was whole; NULL while it is written.';
CREATE INDEX bill_archive_age ON bill_archive (created_at);
CALL gm.keep_audit('bill_archive');
CALL gm.guard('bill_archive');

-- One file in pieces of about a megabyte, so that neither who writes nor who reads it holds it as a whole.
CREATE TABLE bill_archive_part (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    archive_id bigint NOT NULL,
    position   int NOT NULL CHECK (position >= 0),
    content    bytea NOT NULL,
    UNIQUE (archive_id, position),
    FOREIGN KEY (project_id, archive_id) REFERENCES bill_archive (project_id, id) ON DELETE CASCADE
);
-- Already compressed: trying again costs time and saves nothing.
ALTER TABLE bill_archive_part ALTER COLUMN content SET STORAGE EXTERNAL;
CALL gm.guard('bill_archive_part');
