"""Vouchers for accounting software: journals of a month as files."""
