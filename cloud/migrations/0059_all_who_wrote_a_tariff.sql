-- Everybody who wrote a tariff draft is one of its authors, not only who changed it last: none of them approves it alone.

ALTER TABLE tariff_draft ADD COLUMN authors bigint[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN tariff_draft.authors IS 'All users who wrote something of it; programs are not among them.';
-- What was decided stays as it is, and nobody approves it any more.
UPDATE tariff_draft SET authors = ARRAY[author] WHERE author IS NOT NULL AND state NOT IN ('withdrawn', 'published');
