"""The console of every command: it prints a user's words as they are, without markup or emoji.

A run folder may be called `[bs 8] simclr` and a class `:cat:`. rich would read both, in sentences,
table cells, titles and bars, so every console and every bar of a command is made here; what should
look different gets a `style`.
"""

import sys
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)


def new_console(
    file: IO[str] | None = None,  # None: stdout
    *,
    width: int | None = None,  # characters; None: the terminal's
    soft_wrap: bool = False,  # leave long lines to the terminal
    quiet: bool = False,
) -> Console:
    """A console that prints words as they are."""
    return Console(
        file=file,
        width=width,
        soft_wrap=soft_wrap,
        quiet=quiet,
        markup=False,
        emoji=False,
        highlight=False,
    )


def table_console(width: int = 120) -> Console:
    """For tables on stdout: the terminal's width; in a file the given one, so that none is cut."""
    return new_console(width=None if sys.stdout.isatty() else width)


def new_bar(
    console: Console, *columns: ProgressColumn, hidden: bool = False, transient: bool = False
) -> Progress:
    """A bar with these columns, or with description, bar, per cent and time left."""
    usual = (words(), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*(columns or usual), console=console, disable=hidden, transient=transient)


def words(text: str = "{task.description}") -> TextColumn:
    """A bar's column of words as they are."""
    return TextColumn(text, markup=False)
