"""How many vehicles are inside and how many places are left, counted from the stays: read, streamed, on displays."""
