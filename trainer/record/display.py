"""The display of a run: a bar on a terminal, a plain line every few seconds elsewhere.

`train.py` calls `update` once a step and `say` or `warn` for a sentence. Everything goes to
stderr, so that stdout holds results only.
"""

import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.text import Text

from shards.terminal.console import new_bar, new_console, words

SECONDS_BETWEEN_LINES = 10.0
FIRST_STEPS = 2  # of a start: kernels are compiled in them, they say nothing of the speed
PACE_STEPS = 200  # that the time left is told from


@dataclass(frozen=True, slots=True)
class Speed:
    """Of the last steps, without the first."""

    images_per_s: float
    wait_share: float  # of the time, spent waiting for data


class Pace:
    """The time of a step: over the last ones, without the first and without pauses."""

    def __init__(self) -> None:
        self._num_steps = 0
        self._times: deque[float] = deque(maxlen=PACE_STEPS + 1)  # ends of steps

    def step(self, now: float) -> None:
        """A step has ended."""
        self._num_steps += 1
        if self._num_steps >= FIRST_STEPS:
            self._times.append(now)

    def pause(self, seconds: float) -> None:
        """As long was no training."""
        self._times = deque((t + seconds for t in self._times), maxlen=PACE_STEPS + 1)

    @property
    def seconds_per_step(self) -> float | None:
        """None: not known yet."""
        if len(self._times) < 2:
            return None
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1)


class Display:
    """Progress of one run; a context manager. With `quiet` (other ranks) it shows nothing."""

    def __init__(self, total_steps: int, first_step: int = 0, *, quiet: bool = False) -> None:
        self._total = total_steps
        self._pace = Pace()
        self._last_line = time.monotonic()
        self._console = new_console(sys.stderr, quiet=quiet, soft_wrap=True)
        self._bar: Progress | None = None
        if self._console.is_terminal and not quiet:
            columns = (words("step"), MofNCompleteColumn(), BarColumn(), words())
            self._bar = new_bar(self._console, *columns, transient=True)
            self._task = self._bar.add_task("", total=total_steps, completed=first_step)

    def update(
        self,
        step: int,
        loss: float,
        speed: Speed | None = None,  # None: not known yet
        constant_loss: float | None = None,  # of a constant output, None: not known
    ) -> None:
        """After `step` steps."""
        figures = ""
        if not math.isnan(loss):  # nobody has looked at one yet
            beside = "" if constant_loss is None else f" (constant output {constant_loss:.4f})"
            figures = f"loss {loss:.4f}{beside}"
        if speed is not None:
            figures += f"  {speed.images_per_s:.0f} img/s  data wait {speed.wait_share:.1%}"
        now = time.monotonic()
        self._pace.step(now)
        pace = self._pace.seconds_per_step
        if pace is not None:
            figures += f"  {_duration(pace * (self._total - step))} left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=figures)
        elif now - self._last_line >= SECONDS_BETWEEN_LINES or step == self._total:
            self._last_line = now
            self.say(f"step {step}/{self._total}  {figures.lstrip()}".rstrip())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The body is no training: an evaluation."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._pace.pause(time.monotonic() - start)

    def say(self, text: str) -> None:
        """A sentence above the bar."""
        self._console.print(text)

    def warn(self, text: str) -> None:
        """A sentence that should be noticed."""
        self._console.print(Text.assemble(("warning:", "bold yellow"), " ", text))

    def __enter__(self) -> "Display":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"
