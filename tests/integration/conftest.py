"""Fixtures of the application for all integration tests."""

from tests.integration.app import app, app_client, cheap_passwords, keys, owner_db, people, settings

__all__ = ["app", "app_client", "cheap_passwords", "keys", "owner_db", "people", "settings"]
