"""Money against bills: what is owed by date, what pays it, and what is held for an account."""
