"""What a command sets for its process must not outlive a test.

Both ends of a line are in the test's process: what is late is late by what was waited for, not by the wall.
"""

from collections.abc import Iterator

import pytest

from tests.plain_logs import log_plainly
from tests.waited_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    log_plainly()
