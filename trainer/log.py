"""What a run writes down: a JSON line a record, and TensorBoard events where that is there.

`train.py` calls `write` with plain numbers; everything else (reports, plots, `tail -f`) reads
metrics.jsonl. A continued run first drops the records that the restarted steps will write again.
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

METRICS_NAME = "metrics.jsonl"
EVENTS_NAME = "tensorboard"
GET_TENSORBOARD = "no TensorBoard events: pip install 'augengine[report]' to have them"


class RunLog:
    """Appends records to RUN/metrics.jsonl (and RUN/tensorboard); a context manager."""

    def __init__(self, run: Path, *, from_step: int = 0) -> None:
        path = run / METRICS_NAME
        if path.exists():
            _drop_records_after(path, from_step)
        self._file = open(path, "a", encoding="utf-8")
        self._events = _open_events(run / EVENTS_NAME, from_step)

    @property
    def has_events(self) -> bool:
        """Whether TensorBoard events are written too."""
        return self._events is not None

    def write(self, step: int, values: Mapping[str, float | int | str]) -> None:
        """One record; a value that is not finite is kept in words, since JSON has no NaN."""
        record: dict[str, Any] = {"step": step}
        for name, value in values.items():
            odd = isinstance(value, float) and not math.isfinite(value)
            record[name] = str(value) if odd else value
            if self._events is not None and not isinstance(value, str):
                self._events.add_scalar(name, value, step)
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Flush and close both files."""
        self._file.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of a run, oldest first; a torn last line (power cut) is left out."""
    records = []
    path = run / METRICS_NAME
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _drop_records_after(path: Path, step: int) -> None:
    kept = [r for r in read_metrics(path.parent) if r["step"] <= step]
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    os.replace(temporary, path)


def _open_events(folder: Path, from_step: int) -> Any:
    """A SummaryWriter, or None without tensorboard; drops events past the step to continue from."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=from_step + 1 if from_step else None)
