"""`gatemeter demo`: the whole system on one machine, with an estate and thirteen months of history."""
