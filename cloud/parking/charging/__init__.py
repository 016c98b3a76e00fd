"""Money for stays: quotes, payments, and letting out a vehicle that owes nothing."""
