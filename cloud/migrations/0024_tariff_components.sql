-- What a tariff can charge by now: demand, capacity, power factor, percentages, least and highest amounts.

ALTER TABLE bill_line DROP CONSTRAINT bill_line_kind_check;
ALTER TABLE bill_line ADD CONSTRAINT bill_line_kind_check CHECK (
    kind IN ('usage', 'fixed', 'area', 'demand', 'capacity', 'power_factor', 'surcharge', 'minimum', 'cap', 'tax',
             'discount', 'adjustment', 'rounding'));

-- A fee of part of a month multiplies square metres with millionths of a month.
ALTER TABLE bill_line ALTER COLUMN quantity TYPE numeric(28, 10);
ALTER TABLE bill_line ADD COLUMN season text;
COMMENT ON COLUMN bill_line.season IS 'Season of the tariff that the price is of; NULL without seasons.';
