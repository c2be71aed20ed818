"""The log of a run: a JSON line a record, and the same to the loggers that it names.

`train.py` calls `write` with plain numbers; everything else (reports, plots, `tail -f`) reads
metrics.jsonl, which is always written (loggers.py has the others). A continued run first drops the
records that the restarted steps will write again.
Every record has `time_s`: seconds of training and evaluation up to it, over all starts; what a run
did after its last checkpoint before it was killed is not counted, as it is not in the weights.
"""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from trainer.record.jsonlines import JsonLines, read_lines
from trainer.record.loggers import OURS, Values, open_loggers

METRICS_NAME = "metrics.jsonl"


def _warn(text: str) -> None:
    sys.stderr.write(f"warning: {text}\n")


class RunLog:
    """Hands records to metrics.jsonl and to the loggers of run.loggers; a context manager.

    A logger that is not ours and fails costs its own further records, not the run: it is warned
    about once, and left out from then on.
    """

    def __init__(
        self,
        run: Path,
        names: Sequence[str] = ("tensorboard",),  # of run.loggers
        config: Mapping[str, Any] = MappingProxyType({}),  # the run's keys
        *,
        from_step: int = 0,
        warn: Callable[[str], None] = _warn,
    ) -> None:
        self._loggers = open_loggers(names, run, config, from_step)
        self._warn = warn

    def write(self, step: int, values: Values) -> None:
        """One record."""
        self._each(lambda logger: logger.write(step, values))

    def close(self) -> None:
        """Close all of them; may be called twice."""
        self._each(lambda logger: logger.close())
        self._loggers = {}

    def _each(self, act: Callable[[Any], None]) -> None:
        for name, logger in list(self._loggers.items()):
            try:
                act(logger)
            except Exception as error:  # of a library or a server that is not ours
                if name in OURS:
                    raise
                del self._loggers[name]
                reason = " ".join(str(error).split())[:300]
                self._warn(
                    f"logger {name} gets no more records, since it failed: {type(error).__name__}: "
                    f"{reason}; {METRICS_NAME} has all of them"
                )

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JsonLog:
    """Appends records to RUN/metrics.jsonl, each with its `time_s`."""

    def __init__(self, run: Path, from_step: int = 0) -> None:
        self._lines = JsonLines(run / METRICS_NAME, from_step=from_step)
        former = [record["time_s"] for record in read_metrics(run) if "time_s" in record]
        self._began = time.monotonic() - (former[-1] if former else 0.0)

    def write(self, step: int, values: Values) -> None:
        """One record; a value that is not finite is kept in words, since JSON has no NaN."""
        time_s = round(time.monotonic() - self._began, 3)
        record: dict[str, Any] = {"step": step, "time_s": time_s}
        for name, value in values.items():
            odd = isinstance(value, float) and not math.isfinite(value)
            record[name] = str(value) if odd else value
        self._lines.append(record)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._lines.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run, oldest first."""
    return read_lines(run / METRICS_NAME)
