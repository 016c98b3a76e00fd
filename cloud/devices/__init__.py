"""Gateways, their devices, which meter each carries, their health, and commands to them."""
