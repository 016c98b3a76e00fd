"""Stays: passages stored once each and matched to sessions in event time."""
