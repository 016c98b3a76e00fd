"""The guard's desk: who waits, who is inside, opening by hand."""
