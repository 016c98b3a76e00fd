"""The double-entry ledger: journals, chart of accounts, closed months, balances, and the proof that all agrees."""
