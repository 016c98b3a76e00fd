"""Spaces: numbered places of a lot, whose they are and whether they can be used."""
