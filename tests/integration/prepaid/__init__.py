"""Tests of prepaid supply."""
