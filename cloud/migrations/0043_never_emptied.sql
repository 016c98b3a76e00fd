-- What is issued, charged and paid is put right by further rows: not even the owner of the tables empties them.
DO $$
DECLARE
    kept text;
BEGIN
    FOREACH kept IN ARRAY ARRAY['bill', 'charge', 'bill_line', 'adjustment', 'billed_adjustment', 'payment_allocation'] LOOP
        EXECUTE format('CREATE TRIGGER never_emptied BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION gm.refuse_change()', kept);
        EXECUTE format('ALTER TABLE %I ENABLE ALWAYS TRIGGER never_emptied', kept);
    END LOOP;
END
$$;
