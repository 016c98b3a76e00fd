"""Promises about parking: each row of the table of edge cases is a file named after it."""
