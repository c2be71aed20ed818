"""`trainer.run` to which something happens after a step; the environment says what and when.

STOP_AFTER=3      every rank gets SIGTERM, as from a scheduler
KILL_AFTER=1:5    rank 1 gets SIGKILL, in torchrun's first start, as from a lack of memory
FULL_AFTER=4      no file can be written beyond 10 kB from then on, as on a full disk
"""

import os
import resource
import signal
import sys
from typing import Any

from trainer.record.report import Reporter
from trainer.run import main

NEVER = "0"
note = Reporter.note


def note_and_fail(self: Reporter, progress: Any, result: Any) -> None:
    """The step's own work, then the fault."""
    note(self, progress, result)
    step = progress.step + 1
    if step == int(os.environ.get("STOP_AFTER", NEVER)):
        os.kill(os.getpid(), signal.SIGTERM)
    if step == int(os.environ.get("FULL_AFTER", NEVER)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    rank, _, last = os.environ.get("KILL_AFTER", NEVER).partition(":")
    first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if first_start and os.environ.get("RANK", "0") == rank and last and step == int(last):
        os.kill(os.getpid(), signal.SIGKILL)


Reporter.note = note_and_fail  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
