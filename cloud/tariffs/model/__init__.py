"""What a tariff may say, and what can be wrong with it."""
