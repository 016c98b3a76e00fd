"""Service agreements: what an account is charged for, by tariff, as rent or once."""
