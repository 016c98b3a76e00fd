"""Providers' statements day by day, compared with what was booked here: what nobody told us, and what disagrees."""
