"""Apportionment: an amount shared out among those who use it together."""
