-- Files of readings: what was uploaded, and what became of each row.

CREATE TABLE reading_import (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    file_name    text NOT NULL CHECK (length(file_name) BETWEEN 1 AND 200),
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    size         bigint NOT NULL CHECK (size >= 0),
    kind         text NOT NULL CHECK (kind IN ('register', 'interval')),
    stamped      text NOT NULL DEFAULT 'start' CHECK (stamped IN ('start', 'end')),
    interval_s   int CHECK (interval_s BETWEEN 1 AND 3456000),
    opening      text NOT NULL DEFAULT '' CHECK (length(opening) <= 40),
    dry_run      boolean NOT NULL,
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    loaded       boolean NOT NULL DEFAULT false,
    header       text[] NOT NULL DEFAULT '{}',
    rows         int NOT NULL DEFAULT 0,
    answered     int NOT NULL DEFAULT 0,
    counts       jsonb NOT NULL DEFAULT '{}',
    error_code   text NOT NULL DEFAULT '',
    error        text NOT NULL DEFAULT '',
    actor        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    UNIQUE (project_id, id)
);
COMMENT ON COLUMN reading_import.stamped IS 'Of interval files: whether the time of a row is where its interval begins or where it ends.';
COMMENT ON COLUMN reading_import.interval_s IS 'Of interval files: length of the rows that do not state theirs.';
COMMENT ON COLUMN reading_import.opening IS 'Of interval files: where a register without earlier readings begins, in the unit of the rows.';
COMMENT ON COLUMN reading_import.loaded IS 'Whether all rows of the file are in reading_import_row.';
COMMENT ON COLUMN reading_import.counts IS 'Rows by outcome.';
CREATE INDEX reading_import_of_project ON reading_import (project_id, id DESC);
CREATE INDEX reading_import_of_file ON reading_import (project_id, sha256) WHERE NOT dry_run;
-- How far it is says nothing about who decided what: only what people do is audited.
CALL gm.guard('reading_import');

-- The file as it came, in parts, so that nobody holds a whole file in memory to store it.
CREATE TABLE reading_import_part (
    import_id  bigint NOT NULL,
    nth        int NOT NULL,
    project_id bigint NOT NULL,
    content    bytea NOT NULL,
    PRIMARY KEY (import_id, nth),
    FOREIGN KEY (project_id, import_id) REFERENCES reading_import (project_id, id) ON DELETE CASCADE
);
ALTER TABLE reading_import_part ALTER COLUMN content SET STORAGE EXTERNAL;
CALL gm.guard('reading_import_part');

CREATE TABLE reading_import_row (
    import_id  bigint NOT NULL,
    line       int NOT NULL,
    project_id bigint NOT NULL,
    raw        jsonb NOT NULL,
    outcome    text NOT NULL CHECK (outcome IN ('new', 'waiting', 'stored', 'repeated', 'other-value',
                                                'needs-confirmation', 'refused')),
    code       text NOT NULL DEFAULT '',
    field      text NOT NULL DEFAULT '',
    detail     text NOT NULL DEFAULT '',
    meter_id   bigint,
    channel    smallint,
    placed_at  timestamptz,
    taken_at   timestamptz,
    until_at   timestamptz,
    value      bigint,
    register   bigint,
    confirmed_code text NOT NULL DEFAULT '',
    confirmed  text NOT NULL DEFAULT '' CHECK (length(confirmed) <= 500),
    confirmer  text NOT NULL DEFAULT '',
    PRIMARY KEY (import_id, line),
    FOREIGN KEY (project_id, import_id) REFERENCES reading_import (project_id, id) ON DELETE CASCADE
);
COMMENT ON COLUMN reading_import_row.raw IS 'The cells as they were in the file, a list of texts.';
COMMENT ON COLUMN reading_import_row.outcome IS 'new: not looked at yet; waiting: understood, not stored yet.';
COMMENT ON COLUMN reading_import_row.placed_at IS 'Where the row stands in its series: taken_at, or that of the row before when its own time cannot be read.';
COMMENT ON COLUMN reading_import_row.value IS 'A register reading, or the quantity of an interval; in the base unit of the channel.';
COMMENT ON COLUMN reading_import_row.register IS 'Of an interval: where the register stands at its end.';
COMMENT ON COLUMN reading_import_row.confirmed_code IS 'Which code was confirmed; another one is asked about again.';
COMMENT ON COLUMN reading_import_row.confirmed IS 'Why the row is right although it looks wrong; empty: nobody said so.';
CREATE INDEX reading_import_row_by_outcome ON reading_import_row (import_id, outcome, line);
CREATE INDEX reading_import_row_in_series ON reading_import_row (import_id, meter_id, channel, placed_at, line);
CALL gm.guard('reading_import_row');
