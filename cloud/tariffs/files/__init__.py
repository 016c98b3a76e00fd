"""Tariffs as files: checked, described by a schema, and taken over from elsewhere."""
