"""Projects, buildings, units, people, occupancies, households and accounts."""
