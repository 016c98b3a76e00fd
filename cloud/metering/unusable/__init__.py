"""Readings that cannot be used, counted by device and reason."""
