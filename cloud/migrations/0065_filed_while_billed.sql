-- What is filed or published while drafts are made counts as if it came after them: their charges are not to be seen yet (0034).
-- Persons: noted, as usage is.

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

-- Likewise no price begins in days that drafts are being made of: they have read the prices, and keep them.
CREATE OR REPLACE FUNCTION gm.tariff_charged_until(wanted bigint) RETURNS date LANGUAGE plpgsql VOLATILE AS
$$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(gm.usage_note_lock());
    RETURN greatest(
        (SELECT max(upper(charge.period)) - 1 FROM charge
         JOIN service_agreement agreement ON agreement.id = charge.agreement_id
         JOIN bill ON bill.id = charge.bill_id
         WHERE agreement.tariff_id = wanted AND bill.state <> 'void'),
        (SELECT max(upper(run.period)) - 1 FROM bill_run run
         JOIN tariff ON tariff.project_id = run.project_id
         WHERE tariff.id = wanted AND run.state = 'running'));
END
$$;
