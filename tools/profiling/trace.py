"""A short run of the loader as a Chrome trace: what each thread did when, batch by batch.

The file opens in https://ui.perfetto.dev and in chrome://tracing. A backend is a process of the
trace, a worker a thread, a batch a slice with its stages inside; the consumer's thread shows where
it waited. Format: "Trace Event Format" (Chrome), complete events ("X") and metadata ("M").
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from augengine.loader.meter import MeterSnapshot, Span
from augengine.loader.view_loader import ViewLoader
from shards.atomic import write_whole

NUM_BATCHES = 16


def record(loader: ViewLoader, num_batches: int = NUM_BATCHES) -> tuple[list[Span], MeterSnapshot]:
    """Run a fresh loader, and close it: its spans, and what its meter counted meanwhile."""
    before = loader.meter.record_spans()
    with loader:
        for _ in range(num_batches):
            next(loader)
    # The workers have ended: no span is cut off.
    return list(loader.meter.take_spans()), loader.meter.snapshot() - before


def write_trace(path: Path, runs: Mapping[str, Sequence[Span]]) -> None:
    """Write the runs side by side, each from its own time 0, a process each."""
    events = [
        event
        for pid, (name, spans) in enumerate(runs.items())
        for event in _events(pid, name, spans)
    ]
    trace = {"traceEvents": events, "displayTimeUnit": "ms"}
    write_whole(path, json.dumps(trace))


def _events(pid: int, name: str, spans: Sequence[Span]) -> list[dict[str, Any]]:
    threads = sorted({span.thread for span in spans})
    begin = min((span.start_s for span in spans), default=0.0)
    named = [_metadata(pid, 0, "process_name", name)]
    named += [_metadata(pid, tid, "thread_name", thread) for tid, thread in enumerate(threads)]
    # What contains comes before what it contains, even when both start in the same microsecond.
    in_order = sorted(spans, key=lambda span: (span.start_s, -span.seconds))
    return named + [
        {
            "name": span.name,
            "cat": "loader",
            "ph": "X",
            "ts": 1e6 * (span.start_s - begin),
            "dur": 1e6 * span.seconds,
            "pid": pid,
            "tid": threads.index(span.thread),
            "args": {"batch": span.batch, "images": span.images},
        }
        for span in in_order
    ]


def _metadata(pid: int, tid: int, kind: str, name: str) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
