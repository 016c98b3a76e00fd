"""Commands of administration: database, keys, processes, the doctor."""
