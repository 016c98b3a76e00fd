-- Days that are not what their weekday says: public holidays, week-ends that are worked, days of critical load.

CREATE TABLE calendar_day (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    day        date NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('work', 'rest', 'holiday', 'critical')),
    name       text NOT NULL DEFAULT '',
    UNIQUE (project_id, day)
);
COMMENT ON TABLE calendar_day IS 'Without a row a day is work from Monday to Friday and rest at the week-end.';
CALL gm.keep_audit('calendar_day');
CALL gm.guard('calendar_day', 'true');
