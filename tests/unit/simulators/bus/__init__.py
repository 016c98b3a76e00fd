"""Simulated buses."""
