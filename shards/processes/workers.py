"""Worker processes that leave Ctrl-C to their parent, and end when it is killed.

A terminal sends Ctrl-C to all processes of a command at once, and a worker that is importing would
answer with a traceback of its own. So workers start with the signal blocked, and inherit that.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Result = TypeVar("Result")


class WorkerPool(ProcessPoolExecutor):
    """Spawned processes, not forked ones: the caller may have threads or a GPU."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        super().__init__(workers, mp_context=context, initializer=_die_with_parent)

    def submit(self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any) -> "Future[Result]":
        """As every pool's, which starts a process where one is missing."""
        with _interrupt_later():
            return super().submit(fn, *args, **kwargs)


@contextmanager
def _interrupt_later() -> Iterator[None]:
    """Block SIGINT for this thread and the processes it starts; it is not lost for this one."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _die_with_parent() -> None:
    """End when the parent is killed: its death closes the sentinel."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
