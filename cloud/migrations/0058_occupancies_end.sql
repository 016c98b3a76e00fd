-- Which clock a file of readings goes by. Empty: that of the project.
ALTER TABLE reading_import ADD COLUMN time_zone text NOT NULL DEFAULT '';

-- Occupancies end, or turn out to have ended, after usage of their days was judged: those days are judged again.

-- Local days of meters that are seen otherwise since somebody lives there, or no longer does. Taken by `metering.settle`.
CREATE TABLE store.changed_life (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    meter_id   bigint NOT NULL,
    project_id bigint NOT NULL,
    days       daterange NOT NULL
);
COMMENT ON COLUMN store.changed_life.days IS 'Without an end: up to now.';
CREATE INDEX changed_life_of_meter ON store.changed_life (meter_id);
GRANT SELECT, INSERT, DELETE ON store.changed_life TO gatemeter_worker;

-- Days that are still to come are judged when they are over.
CREATE FUNCTION gm.note_changed_life(meters bigint[], changed daterange) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    INSERT INTO store.changed_life (meter_id, project_id, days)
    SELECT m.id, m.project_id, changed FROM meter m JOIN project p ON p.id = m.project_id
    WHERE m.id = ANY (meters) AND NOT isempty(changed)
      AND (lower_inf(changed) OR lower(changed) < (now() AT TIME ZONE p.time_zone)::date)
$$;
REVOKE EXECUTE ON FUNCTION gm.note_changed_life(bigint[], daterange) FROM PUBLIC;

CREATE FUNCTION gm.occupancy_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    before datemultirange := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE datemultirange(OLD.valid) END;
    after  datemultirange := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE datemultirange(NEW.valid) END;
    unit   bigint := CASE WHEN TG_OP = 'DELETE' THEN OLD.unit_id ELSE NEW.unit_id END;
BEGIN
    PERFORM gm.note_changed_life(ARRAY(SELECT id FROM meter WHERE unit_id = unit),
                                 range_merge(before + after - before * after));
    RETURN NULL;
END
$$;
CREATE TRIGGER judged_again AFTER INSERT OR UPDATE OF valid OR DELETE ON occupancy
    FOR EACH ROW EXECUTE FUNCTION gm.occupancy_changed();

CREATE FUNCTION gm.meter_life_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    PERFORM gm.note_changed_life(ARRAY[NEW.id], CASE WHEN OLD.unit_id IS DISTINCT FROM NEW.unit_id
        THEN daterange(NEW.installed_on, NULL) ELSE daterange(least(OLD.removed_on, NEW.removed_on), NULL) END);
    RETURN NULL;
END
$$;
CREATE TRIGGER judged_again AFTER UPDATE OF unit_id, removed_on ON meter FOR EACH ROW
    WHEN (OLD.unit_id IS DISTINCT FROM NEW.unit_id OR OLD.removed_on IS DISTINCT FROM NEW.removed_on)
    EXECUTE FUNCTION gm.meter_life_changed();
