"""Readings as they are stored: streams for people, messages for webhooks."""
