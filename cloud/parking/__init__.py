"""Lots, lanes, fee rules and the sessions built from passages."""
