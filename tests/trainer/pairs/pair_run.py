"""`trainer.run` that gets SIGTERM after the step STOP_AFTER says, as a scheduler would send it.

A package called timm stands beside this file's folder where PYTHONPATH names it.
"""

import os
import signal
import sys
from typing import Any

from trainer.report import Reporter
from trainer.run import main

STOP_AFTER = int(os.environ.get("STOP_AFTER", "0"))
note = Reporter.step


def note_and_stop(self: Reporter, progress: Any, result: Any) -> None:
    """The step's own work, then the signal."""
    note(self, progress, result)
    if progress.step + 1 == STOP_AFTER:
        os.kill(os.getpid(), signal.SIGTERM)


Reporter.step = note_and_stop  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main())
