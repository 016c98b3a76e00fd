"""A tariff that is not published on a real account: what its last bill would be."""
