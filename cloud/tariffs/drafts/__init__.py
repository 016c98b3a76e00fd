"""Tariff versions in the making: written, tried, handed in, approved, published."""
