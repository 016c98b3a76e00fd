-- Residents see the bounds by which their own meters are judged: whether water runs at night is told by them.
CREATE POLICY resident ON validation_threshold FOR SELECT TO gatemeter_web
    USING ((SELECT gm.kind()) = 'resident' AND project_id = ANY ((SELECT gm.projects())::bigint[])
           AND (class IS NOT NULL OR meter_id IN (SELECT mine.meter_id FROM gm.my_meters() mine)));
