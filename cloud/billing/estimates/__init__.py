"""Charges whose quantity is estimated: when, how often, and what staff see to."""
