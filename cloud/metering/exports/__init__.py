"""Readings and usage as files of any length."""
