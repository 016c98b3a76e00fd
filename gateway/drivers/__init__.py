"""Drivers: one package per protocol, behind small capability protocols."""
