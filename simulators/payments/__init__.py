"""Providers of payments that verify what we sign and sign what they answer and call back, as the real ones do."""
