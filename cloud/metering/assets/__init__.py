"""Meters as things: registers, ratings, seals, verifications, masters and sub-meters."""
