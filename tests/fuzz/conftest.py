"""Fixtures of the application for the fuzz tests."""

from tests.integration.app import app, app_client, keys, owner_db, people, settings

__all__ = ["app", "app_client", "keys", "owner_db", "people", "settings"]
