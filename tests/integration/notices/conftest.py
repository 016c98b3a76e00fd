"""Mail servers live in the test's process: they are late by what was waited for them, not by the wall."""

from tests.waited_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
