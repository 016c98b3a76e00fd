"""Imports of readings: files taken in, understood, judged and stored by a job."""
