"""Readings that people type in or hand in, with photos of registers."""
