-- Lists of edits are read from the latest on: of a project, of a meter.
CREATE INDEX reading_edit_of_project ON reading_edit (project_id, id DESC);
CREATE INDEX reading_edit_of_meter ON reading_edit (meter_id, id DESC);
