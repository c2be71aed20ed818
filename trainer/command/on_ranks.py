"""A refusal under torchrun is one line: the first rank's, while the others end with its code.

What is typed is the same for all ranks, and so is nearly always what is wrong with it. A rank that
ends makes torchrun end the others, so whoever came first with a line of its own would take the
first rank's away. The others wait for that to happen. One that is left alone with its trouble, as
a machine that does not see the run's folder, says it after a while.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from shards.errors import EXIT_DATA, EXIT_USAGE, DataError, UsageError, run_command

ALONE_AFTER_S = 30.0


def run_on_ranks(main: Callable[[], int | None]) -> int:
    """As `run_command`, on every rank; what is wrong for all of them is said by the first."""
    rank = os.environ.get("RANK", "0")
    if rank == "0":
        return run_command(main)
    return run_command(lambda: _quietly(main, rank))


def _quietly(main: Callable[[], int | None], rank: str) -> int | None:
    try:
        return main()
    except (UsageError, DataError) as error:
        # What went wrong amid the work is of this rank, and says so.
        is_own = isinstance(error, DataError) and str(error).startswith(f"rank {rank}: ")
        if not is_own:
            _wait_to_be_ended(EXIT_USAGE if isinstance(error, UsageError) else EXIT_DATA)
        raise


def _wait_to_be_ended(code: int) -> None:
    """Until torchrun ends this rank, then with this code; returns when it does not."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(code)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
        threading.Event().wait(ALONE_AFTER_S)
