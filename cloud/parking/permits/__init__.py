"""Permits: monthly cards, owners' spaces, staff; what they cover, what they cost, what gateways are told of them."""
