"""Providers that money comes from, as adapters of one protocol."""
