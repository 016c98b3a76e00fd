-- A stay keeps the price that its driver was told, whatever happens to other stays later.

ALTER TABLE parking_session ADD COLUMN as_told boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN parking_session.as_told IS
    'It costs less than follows from what was agreed on after it was over: its driver left with this price.';
