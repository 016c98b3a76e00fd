"""Vehicles and the people whose they are."""
