-- What the driver of a vehicle that stands at an exit was told to pay.

ALTER TABLE passage ADD COLUMN due_command_id uuid;
COMMENT ON COLUMN passage.due_command_id IS 'The last command that was given to show at the lane what is due; another one when something else is due, or where this one expired.';
