"""From readings to usage: the engine, its estimates, and what it reads and writes."""
