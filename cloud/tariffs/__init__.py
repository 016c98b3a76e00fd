"""Tariffs: what they may say, their published versions, and the engine that rates usage by them."""
