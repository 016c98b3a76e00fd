"""DL/T 645 meters built from the templates: they answer frames, keep a relay and a clock, and refuse properly."""
