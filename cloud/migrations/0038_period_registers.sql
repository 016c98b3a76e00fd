-- Billing by the meter's own registers of price periods: what an agreement says beside its tariff.

ALTER TABLE service_agreement
    ADD COLUMN time_of_use text CHECK (time_of_use IN ('intervals', 'registers')),
    ADD COLUMN registers jsonb CHECK (jsonb_typeof(registers) = 'object');
COMMENT ON COLUMN service_agreement.time_of_use IS
    'Where usage by price period comes from: the intervals of the meter or its registers; NULL: as the tariff says.';
COMMENT ON COLUMN service_agreement.registers IS
    'Which registers of the meter count each price period (RegisterMap); NULL: as the tariff says.';
