"""Meters answer in the test's process: how long one is looked at goes by what was waited, not by the wall."""

from tests.waited_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
