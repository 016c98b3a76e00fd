"""Usage by hour, day and month without adding up rows."""
