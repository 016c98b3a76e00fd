"""Shifts: who sits at which desk, what was taken and opened meanwhile, and handing the till over."""
