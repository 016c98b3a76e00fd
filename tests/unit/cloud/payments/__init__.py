"""Tests of payments without a database."""
