-- Photos of registers, and readings that residents hand in for staff to accept.

CREATE TABLE reading_photo (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    meter_id     bigint NOT NULL,
    channel      smallint NOT NULL REFERENCES channel,
    taken_at     timestamptz NOT NULL,
    content      bytea NOT NULL CHECK (length(content) BETWEEN 1 AND 1500000),
    content_type text NOT NULL CHECK (content_type IN ('image/jpeg', 'image/png', 'image/webp')),
    sha256       bytea NOT NULL CHECK (length(sha256) = 32),
    actor        text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    UNIQUE (meter_id, channel, taken_at, sha256),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
COMMENT ON TABLE reading_photo IS 'Pictures of a register as it was read; removed when they are too old (cloud/metering/photos.py).';
-- Already compressed: trying again costs time and saves nothing.
ALTER TABLE reading_photo ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX reading_photo_age ON reading_photo (created_at);
CALL gm.keep_audit('reading_photo', secrets => ARRAY['content']);
CALL gm.guard('reading_photo', 'EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = reading_photo.meter_id
                                AND taken_at >= mine.from_at AND taken_at <= mine.until_at)');

-- Who typed a reading in. The series keeps values alone.
CREATE TABLE reading_entry (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL REFERENCES channel,
    taken_at   timestamptz NOT NULL,
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    actor      text NOT NULL CHECK (length(actor) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (meter_id, channel, taken_at),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id)
);
CALL gm.write_once('reading_entry');
CALL gm.guard('reading_entry');

CREATE TABLE reading_submission (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL REFERENCES channel,
    taken_at   timestamptz NOT NULL,
    value      bigint NOT NULL CHECK (value >= 0),
    note       text NOT NULL DEFAULT '' CHECK (length(note) <= 500),
    photo_id   bigint,
    user_id    bigint NOT NULL REFERENCES app_user,
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'accepted', 'rejected')),
    slot       smallint NOT NULL CHECK (slot BETWEEN 1 AND 5),
    accepted   bigint CHECK ((accepted IS NOT NULL) = (state = 'accepted')),
    actor      text NOT NULL DEFAULT '' CHECK (state = 'waiting' OR length(actor) > 0),
    reason     text NOT NULL DEFAULT '' CHECK (length(reason) <= 500 AND (state <> 'rejected' OR length(reason) > 0)),
    decided_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, meter_id) REFERENCES meter (project_id, id),
    FOREIGN KEY (project_id, photo_id) REFERENCES reading_photo (project_id, id) ON DELETE SET NULL (photo_id)
);
COMMENT ON COLUMN reading_submission.slot IS 'One of the five places that a meter has for what waits: no sixth can be taken, however many hand in at once.';
COMMENT ON COLUMN reading_submission.accepted IS 'The value that was stored for it, in the base unit; another one than `value` where staff corrected it.';
CREATE UNIQUE INDEX reading_submission_place ON reading_submission (meter_id, slot) WHERE state = 'waiting';
CREATE INDEX reading_submission_of_project ON reading_submission (project_id, id DESC);
CREATE INDEX reading_submission_of_meter ON reading_submission (meter_id, id DESC);
CREATE INDEX reading_submission_of_photo ON reading_submission (photo_id) WHERE photo_id IS NOT NULL;
CALL gm.keep_audit('reading_submission');
CALL gm.guard('reading_submission', 'EXISTS (SELECT FROM gm.my_meters() mine
                                     WHERE mine.meter_id = reading_submission.meter_id
                                     AND taken_at >= mine.from_at AND taken_at <= mine.until_at)');

-- Residents add for the time in which they live there, in their own name, and change nothing.
CREATE POLICY resident_adds ON reading_photo FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = reading_photo.meter_id
                            AND taken_at >= mine.from_at AND taken_at <= mine.until_at));
CREATE POLICY resident_adds ON reading_submission FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
                AND state = 'waiting' AND user_id = (SELECT gm.user_id())
                AND EXISTS (SELECT FROM gm.my_meters() mine WHERE mine.meter_id = reading_submission.meter_id
                            AND taken_at >= mine.from_at AND taken_at <= mine.until_at));

-- The first free place of a meter. What others handed in waits too, though the asker may not see it.
CREATE FUNCTION gm.free_submission_slot(meter bigint) RETURNS smallint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT min(place)::smallint FROM generate_series(1, 5) AS place
    WHERE NOT EXISTS (SELECT FROM reading_submission s
                      WHERE s.meter_id = meter AND s.slot = place AND s.state = 'waiting')
$$;
REVOKE EXECUTE ON FUNCTION gm.free_submission_slot(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.free_submission_slot(bigint) TO gatemeter_web, gatemeter_worker;
