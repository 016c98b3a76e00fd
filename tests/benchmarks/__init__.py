"""Speed, always as a ratio to something measured in the same run. `make bench` runs them; nothing asserts wall time."""
