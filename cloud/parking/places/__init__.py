"""Lots and lanes: where vehicles stand and where they pass."""
