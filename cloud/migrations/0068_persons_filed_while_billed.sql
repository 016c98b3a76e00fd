-- Persons that are filed while drafts are made are noted even where no charge is to be seen yet, as usage is (0034).

CREATE OR REPLACE FUNCTION gm.persons_filed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    -- Of another number all days are others; of the same one those that only one of both has.
    before  datemultirange := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE datemultirange(OLD.valid) END;
    after   datemultirange := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE datemultirange(NEW.valid) END;
    stays   datemultirange := CASE WHEN TG_OP = 'UPDATE' AND OLD.persons = NEW.persons THEN before * after ELSE '{}' END;
    changed daterange := range_merge(before + after - stays);
    home    household := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(gm.usage_note_lock());
    -- A statement of its own: it sees what was committed while the lock was waited for.
    INSERT INTO late_filing (project_id, unit_id, from_day)
    SELECT home.project_id, home.unit_id, lower(changed)
    WHERE NOT isempty(changed)
      AND (EXISTS (SELECT FROM service_agreement a
                   JOIN account p ON p.id = a.account_id
                   JOIN charge c ON c.agreement_id = a.id AND upper(c.period) > lower(changed)
                   WHERE coalesce(a.unit_id, p.unit_id) = home.unit_id)
           OR EXISTS (SELECT FROM bill_run r WHERE r.project_id = home.project_id AND r.state = 'running'
                      AND upper(r.period) > lower(changed)));
    RETURN NULL;
END
$$;
