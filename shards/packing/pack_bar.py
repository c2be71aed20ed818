"""The bar of a pack: images done, and how many a second."""

import sys

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.text import Text

from shards.terminal.console import new_bar, new_console, words


class _Speed(ProgressColumn):
    """Images a second, over the last moments."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} images/s")


def images_bar(progress: bool) -> Progress:
    """A bar on stderr; none when that is not a terminal."""
    console = new_console(sys.stderr)
    return new_bar(
        console,
        words(),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        hidden=not (progress and console.is_terminal),
    )
