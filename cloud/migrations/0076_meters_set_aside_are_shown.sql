-- Staff see which of their meters cannot be worked on, and have one tried again before its time.
CREATE VIEW meter_set_aside WITH (security_barrier) AS
SELECT s.work, s.meter_id, s.since, s.attempts, s.next_at, s.reason FROM store.set_aside s
WHERE (SELECT gm.is_system())
   OR ((SELECT gm.kind()) = 'staff' AND EXISTS (
       SELECT FROM meter m WHERE m.id = s.meter_id AND m.project_id = ANY ((SELECT gm.projects())::bigint[])));
GRANT SELECT, UPDATE (next_at) ON meter_set_aside TO gatemeter_web, gatemeter_worker;
COMMENT ON VIEW meter_set_aside IS 'Meters whose derivation or settling raised when it was last tried; of staff, those of their projects.';
