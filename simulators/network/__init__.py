"""A network that misbehaves on purpose, between two real ends."""
