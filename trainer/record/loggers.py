"""The loggers of a run, who get its records: metrics.jsonl always, and what run.loggers names.

A logger is a class with `write(step, values)` and `close()`, made from those of run (its folder),
config (its keys) and from_step (where it goes on; 0: it is new) that its parameters name. A static
`check()` may say before the run that it cannot be, by UsageError. One's own is found as every
plug-in is (shards/plugins/find.py).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from shards.errors import DataError, UsageError
from shards.plugins.making import check_arguments, find_class, make
from trainer.config import LOGGERS

OURS = ("jsonl", "tensorboard")  # what they cannot write ends the run: its disk is full
_OFFERED = ("run", "config", "from_step")  # what a logger may be made from
Values = Mapping[str, float | int | str]


class Logger(Protocol):
    """Takes the records of one start of a run."""

    def write(self, step: int, values: Values) -> None:
        """One record; a step may have several, of different names. Numbers may be NaN."""
        ...

    def close(self) -> None:
        """The run ends, or is stopped."""
        ...


def check_loggers(names: Sequence[str]) -> None:
    """UsageError for a logger that is none or cannot be, before anything is written."""
    for name in names:
        cls = _class_of(name)
        check_arguments("loggers", name, cls, _OFFERED)
        check = getattr(cls, "check", None)
        if callable(check):
            check()


def open_loggers(
    names: Sequence[str], run: Path, config: Mapping[str, Any], from_step: int
) -> dict[str, Logger]:
    """The loggers by name, each once, metrics.jsonl first."""
    offered: dict[str, Any] = dict(zip(_OFFERED, (run, config, from_step), strict=True))
    opened: dict[str, Logger] = {}
    for name in dict.fromkeys(("jsonl", *names)):
        try:
            opened[name] = make("loggers", name, _class_of(name), offered)
        except Exception as error:
            close_all(opened)
            if name in OURS or isinstance(error, UsageError | DataError):
                raise
            raise UsageError(
                f"logger {name} starts with the run, got {type(error).__name__}: {error}; mend "
                f"that, or leave it out of run.loggers"
            ) from error
    return opened


def close_all(loggers: Mapping[str, Logger]) -> None:
    """Close them, the last one first."""
    for logger in reversed(list(loggers.values())):
        logger.close()


def _class_of(name: str) -> type[Any]:
    return find_class("loggers", name, LOGGERS, has=("write", "close"))
