"""Read-only reporting queries across features: what the overview pages show."""
