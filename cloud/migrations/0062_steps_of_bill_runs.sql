-- What a running bill run is at, for people who watch it: its meters are looked at before the first draft is made.

ALTER TABLE bill_run ADD COLUMN step text NOT NULL DEFAULT 'billing' CHECK (step IN ('checking', 'billing'));
ALTER TABLE bill_run ALTER COLUMN step SET DEFAULT 'checking';
COMMENT ON COLUMN bill_run.step IS 'checking: the months of its meters are judged, and the progress of its job counts meters; billing: drafts are made, and it counts accounts.';

-- The register that counts now is looked for by meter: the index that keeps registers apart is no help there.
CREATE INDEX meter_register_of_meter ON meter_register (meter_id, lower(valid) DESC);
