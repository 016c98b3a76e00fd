-- What an agreement says beside its tariff: contracted capacity, a floor area of its own, billing without tiers.

ALTER TABLE service_agreement
    ADD COLUMN capacity_va bigint CHECK (capacity_va > 0),
    ADD COLUMN area numeric(12, 2) CHECK (area > 0),
    ADD COLUMN single boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN service_agreement.capacity_va IS 'Contracted capacity in VA, for tariffs by capacity.';
COMMENT ON COLUMN service_agreement.area IS 'Billed floor area in square metres; NULL: that of the unit.';
COMMENT ON COLUMN service_agreement.single IS 'Billed by the prices without tiers, as behind a shared meter.';
