-- Users of merchants: they give out the coupons of one merchant, see what he owes for them, and nothing else.

--   gm.merchants  ids of the merchants whose user the asker is, comma-separated; gm.kind is `merchant` then
CREATE FUNCTION gm.merchants() RETURNS bigint[] LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(string_to_array(nullif(current_setting('gm.merchants', true), ''), ',')::bigint[], '{}') $$;

CREATE TABLE merchant_link (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    merchant_id bigint NOT NULL,
    user_id     bigint NOT NULL UNIQUE REFERENCES app_user,
    created_at  timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, merchant_id) REFERENCES parking_merchant (project_id, id)
);
COMMENT ON TABLE merchant_link IS 'Which merchant a login belongs to; without its row the login opens nothing.';
CREATE INDEX merchant_link_of_merchant ON merchant_link (merchant_id);
CALL gm.keep_audit('merchant_link');
CALL gm.guard('merchant_link');
CREATE POLICY sign_in ON merchant_link FOR SELECT TO gatemeter_web USING ((SELECT gm.kind()) = 'sign-in');
CREATE POLICY staff_of_merchants ON app_user FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'staff' AND EXISTS (
        SELECT FROM merchant_link l WHERE l.user_id = app_user.id AND l.project_id = ANY ((SELECT gm.projects())::bigint[])));

-- A coupon whose code was shown to somebody: no other gets it, whether he uses it or not.
CREATE TABLE coupon_handout (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id  bigint NOT NULL REFERENCES project,
    merchant_id bigint NOT NULL,
    coupon_id   bigint NOT NULL UNIQUE,
    handed_by   text NOT NULL,
    handed_at   timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, merchant_id) REFERENCES parking_merchant (project_id, id),
    FOREIGN KEY (project_id, coupon_id) REFERENCES coupon (project_id, id)
);
CREATE INDEX coupon_handout_of_merchant ON coupon_handout (merchant_id, id DESC);
CALL gm.write_once('coupon_handout');
CALL gm.keep_audit('coupon_handout');
CALL gm.guard('coupon_handout');

-- What a merchant's user reads. He writes nothing himself: the service does, once it has checked whose coupons they are.
CREATE POLICY merchant ON project FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND id = ANY ((SELECT gm.projects())::bigint[]));
CREATE POLICY merchant ON parking_merchant FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND id = ANY ((SELECT gm.merchants())::bigint[]));
CREATE POLICY merchant ON coupon_batch FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND merchant_id = ANY ((SELECT gm.merchants())::bigint[]));
CREATE POLICY merchant ON coupon FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND batch_id IN (SELECT b.id FROM coupon_batch b));
CREATE POLICY merchant ON coupon_redemption FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND merchant_id = ANY ((SELECT gm.merchants())::bigint[]));
CREATE POLICY merchant ON coupon_handout FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND merchant_id = ANY ((SELECT gm.merchants())::bigint[]));
CREATE POLICY merchant ON merchant_payment FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'merchant' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND merchant_id = ANY ((SELECT gm.merchants())::bigint[]));
