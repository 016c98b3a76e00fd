"""Exchange and removal of meters, and change of their multiplier."""
