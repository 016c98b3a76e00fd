"""Prepaid supply: what is left of a balance, warnings, and switching a supply off and on again by the rules."""
