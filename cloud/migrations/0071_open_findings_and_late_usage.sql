-- A change of usage that waits holds up those alone whose charges could not be rated again: another account that is
-- charged for later days of the same meter is done with it.

ALTER TABLE late_usage ADD COLUMN account_ids bigint[];
COMMENT ON COLUMN late_usage.account_ids IS 'Whose charges could not be re-rated at the last attempt; NULL: of whoever pays for the meter.';

-- What is open about some meters is looked up meter by meter, however many findings a project has.
CREATE INDEX meter_exception_open_of_meter ON meter_exception (meter_id, from_at) WHERE state = 'open';
