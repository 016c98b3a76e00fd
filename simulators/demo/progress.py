"""What the terminal shows while the demo is being set up: bars where there is a terminal, else plain lines."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Step:
    """One step of the set-up."""

    def __init__(self, progress: Progress | None, task: TaskID, total: int | None) -> None:
        self._progress, self._task = progress, task
        self.total = total
        self.done = 0

    def expect(self, total: int) -> None:
        """Says how much there is to do, once it is known."""
        self.total = total
        if self._progress is not None:
            self._progress.update(self._task, total=total)

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self.done += count
        if self._progress is not None:
            self._progress.update(self._task, completed=self.done)


class Steps:
    """Shows steps one after the other on `stream`."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._console = Console(file=stream)
        self._bars = self._console.is_terminal

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Step]:
        """One step; it is shown as done when the block ends without an exception."""
        started = time.monotonic()
        if not self._bars:
            self.say(f"{title} …")
            step = Step(None, TaskID(0), total)
            yield step
            counted = f" ({step.done:,})" if step.done else ""
            self.say(f"{title}: done{counted}, {time.monotonic() - started:.1f} s")
            return
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description:<36}"), BarColumn(bar_width=30))
        with Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn(), console=self._console) as progress:
            task = progress.add_task(title, total=total)
            step = Step(progress, task, total)
            yield step
            whole = step.total if step.total is not None else max(step.done, 1)
            progress.update(task, total=whole, completed=whole)

    def say(self, text: str) -> None:
        """A line of its own; nothing when the terminal is gone."""
        with suppress(OSError):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
            self._console.file.flush()
