"""A refusal under torchrun is one line: the first rank's, while the others end with its code.

What is typed is the same for all ranks, and so is nearly always what is wrong with it. A rank that
ends makes torchrun end the others, so whoever came first with a line of its own would take the
first rank's away. The others wait for that to happen. One that is left alone with its trouble, as
a machine that does not see the run's folder, says it after a while.

A process that has failed ends at once, or the others would wait for as long as it does.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from augengine.loader.ahead import any_stalled
from shards.errors import EXIT_DATA, EXIT_USAGE, DataError, UsageError, run_command

ALONE_AFTER_S = 30.0


def run_on_ranks(main: Callable[[], int | None]) -> int:
    """As `run_command`, on every rank; what is wrong for all of them is said by the first."""
    rank = os.environ.get("RANK", "0")
    try:
        code = run_command(main if rank == "0" else lambda: _quietly(main, rank))
    except Exception as error:
        if not _in_a_group():
            raise
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    # Python would wait for the threads of stalled pools, torch for the other ranks' part in what
    # this one has begun: for run.collective_seconds, in which nobody is told.
    if any_stalled() or (code and _in_a_group()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _in_a_group() -> bool:
    """Whether this process is one of several; joined groups are left where all goes well."""
    if "torch" not in sys.modules:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


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
