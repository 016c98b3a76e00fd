"""Both ends of every line are in the test's process: an answer is late by what was waited for it, not by the wall."""

from tests.waited_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]
