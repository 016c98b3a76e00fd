-- Persons are filed, or put right, for days that bills have charged: those bills are rated again.

-- From which day on a unit has other persons than bills knew. Taken by the job `billing.re-rate`, as late_usage is.
CREATE TABLE late_filing (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES project,
    unit_id    bigint NOT NULL,
    from_day   date NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    code       text,
    detail     text,
    FOREIGN KEY (project_id, unit_id) REFERENCES unit (project_id, id)
);
COMMENT ON COLUMN late_filing.code IS 'Why it could not be re-rated at the last attempt; NULL: not tried yet.';
CREATE INDEX late_filing_of_project ON late_filing (project_id, unit_id);
CALL gm.guard('late_filing');

-- Nothing of the estate knows of bills: what is filed for days after the last charged one is nobody's correction.
CREATE FUNCTION gm.persons_filed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    -- Of another number all days are others; of the same one those that only one of both has.
    before  datemultirange := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE datemultirange(OLD.valid) END;
    after   datemultirange := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE datemultirange(NEW.valid) END;
    stays   datemultirange := CASE WHEN TG_OP = 'UPDATE' AND OLD.persons = NEW.persons THEN before * after ELSE '{}' END;
    changed daterange := range_merge(before + after - stays);
    home    household := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO late_filing (project_id, unit_id, from_day)
    SELECT home.project_id, home.unit_id, lower(changed)
    WHERE NOT isempty(changed)
      AND EXISTS (SELECT FROM service_agreement a
                  JOIN account p ON p.id = a.account_id
                  JOIN charge c ON c.agreement_id = a.id AND upper(c.period) > lower(changed)
                  WHERE coalesce(a.unit_id, p.unit_id) = home.unit_id);
    RETURN NULL;
END
$$;
CREATE TRIGGER comes_late AFTER INSERT OR UPDATE OF persons, valid OR DELETE ON household
    FOR EACH ROW EXECUTE FUNCTION gm.persons_filed();

ALTER TABLE adjustment
    DROP CONSTRAINT adjustment_cause_check,
    ADD CONSTRAINT adjustment_cause_check
        CHECK (cause IN ('usage', 'facts', 'area', 'terms', 'concession', 'persons'));
