-- A lane takes the place of another one, as when a barrier was changed: what named the old lane names the new one then.
ALTER TABLE parking_lane ADD COLUMN replaces_id bigint CHECK (replaces_id <> id);
ALTER TABLE parking_lane ADD FOREIGN KEY (project_id, replaces_id) REFERENCES parking_lane (project_id, id);
CREATE UNIQUE INDEX parking_lane_in_place_of ON parking_lane (replaces_id);
COMMENT ON COLUMN parking_lane.replaces_id IS 'The lane whose place it took: no other one did, and it is out of use.';

-- The lanes of a kind of card were as it was made; now they follow.
CALL gm.keep_audit('permit_product_lane');

-- A run for those whom an issued one could not bill, and for nobody else.
ALTER TABLE bill_run ADD COLUMN repeats_id bigint CHECK (repeats_id <> id);
ALTER TABLE bill_run ADD FOREIGN KEY (project_id, repeats_id) REFERENCES bill_run (project_id, id);
COMMENT ON COLUMN bill_run.repeats_id IS 'The issued run whose failures alone it bills, without those that were left out by hand.';
