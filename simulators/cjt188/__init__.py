"""CJ/T 188 meters built from the templates: they answer frames, and keep a valve and a clock."""
