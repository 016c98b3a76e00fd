-- What is left unpaid at a fixed price is owed as well, although the entry was never seen.

CREATE OR REPLACE FUNCTION gm.unpaid(stay bigint, stay_state text, stay_fee numeric) RETURNS numeric
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$
    SELECT CASE WHEN stay_state = 'open' OR stay_fee IS NULL THEN 0
                WHEN stay_fee > p.paid THEN greatest(stay_fee - p.paid - w.waived, 0)
                ELSE stay_fee - p.paid END
    FROM (SELECT coalesce(sum(amount), 0) AS paid FROM parking_payment WHERE session_id = stay) p,
         (SELECT coalesce(sum(amount), 0) AS waived FROM parking_waiver WHERE session_id = stay) w
$$;

CREATE OR REPLACE FUNCTION gm.money_of_stay() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS
$$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE parking_session SET unpaid = unpaid WHERE id = OLD.session_id AND state <> 'open';
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE parking_session SET unpaid = unpaid WHERE id = NEW.session_id AND state <> 'open';
    END IF;
    RETURN NULL;
END
$$;
UPDATE parking_session SET unpaid = gm.unpaid(id, state, fee)
WHERE state = 'unmatched' AND fee IS NOT NULL AND gm.unpaid(id, state, fee) <> unpaid;
