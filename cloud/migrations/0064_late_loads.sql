-- Power and flow that came after their day was judged. A rule looks at them beside usage, which they do not change: so
-- they are noted apart from changed usage, of which bills, webhooks and roll-ups are told.
CREATE TABLE store.late_load (
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    project_id bigint NOT NULL,
    from_at    timestamptz NOT NULL,
    until_at   timestamptz NOT NULL
);
COMMENT ON TABLE store.late_load IS 'Added with the readings, taken by `metering.settle`.';
CREATE INDEX late_load_of_meter ON store.late_load (meter_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON store.late_load TO gatemeter_ingest, gatemeter_worker;
