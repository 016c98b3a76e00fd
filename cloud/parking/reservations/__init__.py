"""Reservations: places of a lot that are kept for vehicles at times."""
