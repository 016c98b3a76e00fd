"""Meters, their readings, and the usage derived from them."""
