-- A resident's pass may begin in the past. What stays of the plate cost that are over he does not see: a job prices them.

CREATE POLICY resident_has_priced ON job FOR INSERT TO gatemeter_web
    WITH CHECK ((SELECT gm.kind()) = 'resident' AND kind = 'parking.price-cover'
                AND project_id = ANY ((SELECT gm.projects())::bigint[]) AND created_by = (SELECT gm.user_id())
                AND (payload ->> 'pass_id')::bigint IN (SELECT id FROM visitor_pass));
CREATE POLICY resident_sees_his ON job FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND kind = 'parking.price-cover'
           AND project_id = ANY ((SELECT gm.projects())::bigint[]) AND created_by = (SELECT gm.user_id()));
