"""Billing: who is charged for what, bill runs, bills that explain themselves, late fees and the ledger."""
