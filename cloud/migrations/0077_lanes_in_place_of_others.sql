-- A lane takes the place of another one, as when a barrier was changed: what named the old lane names the new one then.
ALTER TABLE parking_lane ADD COLUMN replaces_id bigint CHECK (replaces_id <> id);
ALTER TABLE parking_lane ADD FOREIGN KEY (project_id, replaces_id) REFERENCES parking_lane (project_id, id);
CREATE UNIQUE INDEX parking_lane_in_place_of ON parking_lane (replaces_id);
COMMENT ON COLUMN parking_lane.replaces_id IS 'The lane whose place it took: no other one did, and it is out of use.';

-- The lanes of a kind of card were as it was made; now they follow.
CALL gm.keep_audit('permit_product_lane');
