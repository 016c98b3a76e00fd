"""Findings of the validation as people see and decide them."""
