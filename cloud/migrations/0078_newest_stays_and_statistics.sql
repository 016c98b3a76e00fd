-- Stays and debts of all projects of an asker, newest first: the other indexes begin with one project.
CREATE INDEX parking_session_newest ON parking_session ((coalesce(entered_at, left_at)) DESC, id DESC);
CREATE INDEX parking_session_debts ON parking_session (id) WHERE unpaid > 0;

-- Autovacuum learns nothing of a table in which fewer than fifty rows ever changed, and nothing of what partitions have
-- together. The planner then guesses, for a few lots or lanes as for anything, and reads all stays to show a page of them.
CREATE FUNCTION gm.learn_tables() RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
DECLARE
    -- What is partitioned is looked at as a whole; an older server looks at each partition as well.
    of_whole text := CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'ONLY ' ELSE '' END;
    one record;
    learnt int := 0;
BEGIN
    FOR one IN
        SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_stat_all_tables s ON s.relid = c.oid
        WHERE n.nspname IN ('public', 'store')
          AND CASE c.relkind
              WHEN 'r' THEN pg_relation_size(c.oid) > 0 AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL
              WHEN 'p' THEN coalesce(s.last_analyze < now() - interval '6 days', true)
              ELSE false END
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s%I.%I', CASE one.relkind WHEN 'p' THEN of_whole ELSE '' END,
                       one.nspname, one.relname);
        learnt := learnt + 1;
    END LOOP;
    RETURN learnt;
END
$$;
REVOKE EXECUTE ON FUNCTION gm.learn_tables() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gm.learn_tables() TO gatemeter_worker;
