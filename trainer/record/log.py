"""What a run writes down: a JSON line a record, and the same numbers as TensorBoard events.

`train.py` calls `write` with plain numbers; everything else (reports, plots, `tail -f`) reads
metrics.jsonl. A continued run first drops the records that the restarted steps will write again.
Every record has `time_s`: seconds of training and evaluation up to it, over all starts; what a run
did after its last checkpoint before it was killed is not counted, as it is not in the weights.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer.record.events import EventWriter
from trainer.record.jsonlines import JsonLines, read_lines

METRICS_NAME = "metrics.jsonl"
EVENTS_NAME = "tensorboard"


class RunLog:
    """Appends records to RUN/metrics.jsonl (and RUN/tensorboard); a context manager."""

    def __init__(self, run: Path, *, from_step: int = 0) -> None:
        self._lines = JsonLines(run / METRICS_NAME, from_step=from_step)
        self._events = EventWriter(run / EVENTS_NAME, from_step + 1 if from_step else None)
        former = [record["time_s"] for record in read_metrics(run) if "time_s" in record]
        self._began = time.monotonic() - (former[-1] if former else 0.0)

    def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """One record; a value that is not finite is kept in words, since JSON has no NaN."""
        time_s = round(time.monotonic() - self._began, 3)
        record: dict[str, Any] = {"step": step, "time_s": time_s}
        for name, value in values.items():
            odd = isinstance(value, float) and not math.isfinite(value)
            record[name] = str(value) if odd else value
            if not isinstance(value, str):
                self._events.add_scalar(name, value, step)
        self._lines.append(record)

    def close(self) -> None:
        """Close both files."""
        self._lines.close()
        self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run, oldest first."""
    return read_lines(run / METRICS_NAME)
