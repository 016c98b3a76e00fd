"""Where tables and progress go: a terminal as wide as it is, or a stream that folds nothing."""

from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

_WIDTH: Final = 160
"""Where there is no terminal."""


def screen(on_stderr: bool = False) -> Console:
    """Standard output or standard error."""
    console = Console(stderr=on_stderr)
    return console if console.is_terminal else Console(stderr=on_stderr, width=_WIDTH)


class Progress:
    """A bar on standard error while something takes its time; nothing when that is no terminal.

    `with Progress("scanning", 247) as progress:` and then `progress.reach(12)`.
    """

    def __init__(self, title: str, total: int) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal or total < 2)
        self._task = self._bars.add_task(title, total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def reach(self, done: int) -> None:
        """So much is done now."""
        self._bars.update(self._task, completed=done)

    def title(self, text: str) -> None:
        """Something else is being done."""
        self._bars.update(self._task, description=text)
