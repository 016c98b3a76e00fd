"""Real protocol peers for tests and the demo: meters, barriers and a whole demo property. Everything is seeded."""
