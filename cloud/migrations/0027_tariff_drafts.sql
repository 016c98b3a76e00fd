-- Drafts of tariff versions: written, handed in, approved by a second person, published.

ALTER TABLE project ADD COLUMN own_tariffs_approved boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN project.own_tariffs_approved IS 'Whether who wrote a tariff draft may approve it; else a second person does.';

CREATE TABLE tariff_draft (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id   bigint NOT NULL REFERENCES project,
    code         text NOT NULL CHECK (code ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    valid_from   date NOT NULL,
    content      jsonb NOT NULL CHECK (jsonb_typeof(content) = 'object' AND length(content::text) <= 200000),
    state        text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'submitted', 'rejected', 'withdrawn', 'published')),
    revision     int NOT NULL DEFAULT 1,
    copied_from  bigint,
    author       bigint REFERENCES app_user,
    decided_by   bigint REFERENCES app_user,
    decided_at   timestamptz,
    reason       text NOT NULL DEFAULT '' CHECK (length(reason) <= 500 AND (state <> 'rejected' OR length(reason) > 0)),
    version_id   bigint CHECK ((version_id IS NOT NULL) = (state = 'published')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (project_id, id),
    FOREIGN KEY (project_id, copied_from) REFERENCES tariff_version (project_id, id),
    FOREIGN KEY (project_id, version_id) REFERENCES tariff_version (project_id, id)
);
COMMENT ON COLUMN tariff_draft.content IS 'What a tariff file says; may have mistakes until it is handed in.';
COMMENT ON COLUMN tariff_draft.revision IS 'Counts the changes: who saves names the one he saw.';
COMMENT ON COLUMN tariff_draft.author IS 'Who changed it last; NULL: a program.';
CREATE INDEX tariff_draft_of_project ON tariff_draft (project_id, id);
-- What was decided stays decided.
CREATE FUNCTION gm.decided_drafts_stay() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF OLD.state IN ('withdrawn', 'published') OR (TG_OP = 'DELETE' AND OLD.state <> 'draft') THEN
        RAISE EXCEPTION 'the draft is % and stays so', OLD.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN coalesce(NEW, OLD);
END
$$;
CREATE TRIGGER decided BEFORE UPDATE OR DELETE ON tariff_draft FOR EACH ROW EXECUTE FUNCTION gm.decided_drafts_stay();
CALL gm.keep_audit('tariff_draft');
CALL gm.guard('tariff_draft');

-- The last day that bills have charged by a tariff: versions may only begin after it.
CREATE FUNCTION gm.tariff_charged_until(wanted bigint) RETURNS date LANGUAGE sql STABLE AS
$$
    SELECT max(upper(charge.period)) - 1 FROM charge
    JOIN service_agreement agreement ON agreement.id = charge.agreement_id
    JOIN bill ON bill.id = charge.bill_id
    WHERE agreement.tariff_id = wanted AND bill.state <> 'void'
$$;
