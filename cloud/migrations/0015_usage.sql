-- What the derivation of usage keeps beside the rows.

-- Where a register fell back and its count did not: rollovers, and readings that staff believed although they are lower.
-- The advance between two readings is the difference of their products with the multiplier and these in between.
CREATE TABLE store.register_turn (
    meter_id   bigint NOT NULL,
    channel    smallint NOT NULL,
    taken_at   timestamptz NOT NULL,
    project_id bigint NOT NULL,
    raised     bigint NOT NULL,
    PRIMARY KEY (meter_id, channel, taken_at)
);
COMMENT ON COLUMN store.register_turn.raised IS 'By how much the count rose beyond the difference, multiplier applied.';
GRANT SELECT, INSERT, UPDATE, DELETE ON store.register_turn TO gatemeter_ingest, gatemeter_worker;

CREATE VIEW register_turn WITH (security_barrier) AS
SELECT t.* FROM store.register_turn t
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND t.project_id = ANY ((SELECT gm.projects())::bigint[]))
   OR ((SELECT gm.kind()) = 'resident' AND t.project_id = ANY ((SELECT gm.projects())::bigint[]) AND EXISTS (
       SELECT FROM gm.my_meters() mine
       WHERE mine.meter_id = t.meter_id AND t.taken_at >= mine.from_at AND t.taken_at <= mine.until_at));
GRANT SELECT ON register_turn TO gatemeter_web, gatemeter_ingest, gatemeter_worker;

COMMENT ON TABLE store.usage IS 'What a meter used between two instants of its grid, multiplier applied. Longer than the interval of the meter only over a gap that is too long to be shaped.';
