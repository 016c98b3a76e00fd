"""Modbus: planner and decoder are pure, `line` does the I/O, `meter` puts them together for one device."""
