"""SIGTERM, SIGUSR1 and Ctrl-C end a run between two steps, with a checkpoint, not inside of one.

`train.py` asks for `number` after each step; that the signal was heard is said at once. SIGUSR1 is
what schedulers send before the time is up.
A second signal is taken literally and stops at once, for whoever cannot wait for a step; unless it
is the first one's echo: terminals and schedulers tell torchrun and its ranks alike, and torchrun
passes on what it hears. Before and after a run `shards.errors.run_command` answers, and while the
libraries are imported `quiet_interrupt`. A run in the background, which a script or `nohup ... &`
starts with Ctrl-C ignored, leaves it ignored; it is stopped by SIGTERM (`kill PID`).
"""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
ECHO_S = 2.0
ANSWER = "finishing the step, then saving; a second signal stops at once"


def quiet_interrupt() -> None:
    """Let Ctrl-C outside of `run_command`, as while libraries are imported, be one word too.

    For the first lines of a command, when it is the program. Python ends by the signal then, which
    a shell calls 130.
    """
    former = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.stderr.write("interrupted\n")
        else:
            former(kind, error, trace)

    sys.excepthook = hook


class GracefulInterrupt:
    """A context manager that remembers the signal instead of dying from it.

    With `quiet` (other ranks, which hear the same signal) it does not say so.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self.number = 0  # of the signal; 0: none came
        self._came = 0.0  # by time.monotonic
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> "GracefulInterrupt":
        # Python handles signals in the main thread only; elsewhere they stay as they are.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # What the parent had ignored stays so: Ctrl-C is for the program in the foreground,
                # and a shell lets those that it starts in the background not hear it.
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.number == 0:
            self.number, self._came = number, now
            if not self._quiet:
                _answer()
        elif now - self._came > ECHO_S:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._former.clear()


def _answer() -> None:
    """On stderr, past Python's buffer: the signal may have come while that was written to."""
    # Over the bar, where there is one: it is drawn again below.
    clear = "\r\x1b[K" if os.isatty(2) else ""
    with suppress(OSError):
        os.write(2, f"{clear}{ANSWER}\n".encode())
