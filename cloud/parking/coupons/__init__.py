"""Coupons: merchants, what they hand out to those who park, handing coupons in, and what merchants owe for them."""
