-- A run whose worker died for good stays `running` until another is started: nobody makes drafts of it, so that it keeps
-- no price from beginning in its days. Charges that it made do.

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
         WHERE tariff.id = wanted AND run.state = 'running'
           AND NOT EXISTS (SELECT FROM job WHERE job.id = run.job_id
                           AND job.state IN ('done', 'failed', 'cancelled'))));
END
$$;
