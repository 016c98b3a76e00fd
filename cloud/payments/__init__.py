"""Payments: money received, and what it was for."""
