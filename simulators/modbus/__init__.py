"""A fleet of Modbus TCP meters built from the device templates: load curves, rollover, faults; all seeded."""
