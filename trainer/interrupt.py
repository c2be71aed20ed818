"""SIGTERM and Ctrl-C end a run between two steps, with a checkpoint, not in the middle of one.

`train.py` asks `requested` after each step. A second signal is taken literally and stops at once,
for whoever cannot wait for a step.
"""

import signal
import threading
from types import FrameType, TracebackType

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}  # 128 + number, the shell's convention


class GracefulInterrupt:
    """A context manager that remembers the signal instead of dying from it."""

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._former: dict[signal.Signals, object] = {}

    @property
    def exit_code(self) -> int:
        """What the process should end with: 0 without a signal."""
        return 0 if self.requested is None else EXIT_CODES[self.requested]

    def __enter__(self) -> "GracefulInterrupt":
        # Python handles signals in the main thread only; elsewhere they stay as they are.
        if threading.current_thread() is threading.main_thread():
            for number in EXIT_CODES:
                self._former[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._former.clear()
