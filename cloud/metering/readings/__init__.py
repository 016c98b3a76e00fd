"""Readings: from the wire into the store, and out of it by place."""
