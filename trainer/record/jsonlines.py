"""Files of one JSON object a line: appended to, read up to a torn line, cut back after a step.

log.py keeps a run's records in one, samplelog.py the samples of its steps and those that were bad;
every record has a `step`.
"""

import json
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.errors import DataError


class JsonLines:
    """Appends whole lines to a file; when a run goes on from a step, later ones are dropped."""

    def __init__(self, path: Path, *, from_step: int | None = None) -> None:
        if from_step is not None and path.exists():
            drop_after(path, from_step)
        # Without a buffer: what is written survives a kill, and closing a file cannot fail.
        self._file = open(path, "ab", buffering=0)

    def append(self, record: Mapping[str, Any]) -> None:
        """One line; DataError when there is no room for it."""
        append_whole(self._file, json.dumps(record).encode() + b"\n")

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


def append_whole(file: FileIO, record: bytes) -> None:
    """Write a record to a file without a buffer; DataError when there is no room for all of it."""
    try:
        complete = file.write(record) == len(record)
        problem = "" if complete else "no space left on device"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        raise DataError(
            f"a run's records need a disk with room, got {problem} for {file.name}; "
            "checkpoints are intact: free space and continue with --resume"
        )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records, oldest first, up to a line that a kill or a power cut has torn."""
    records = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:  # no JSON, or no text: what a disk had there before
            break
        if not isinstance(record, dict) or "step" not in record:
            break
        records.append(record)
    return records


def drop_after(path: Path, step: int) -> None:
    """Keep the records up to a step, those that a continued run will not write again."""
    kept = [record for record in read_lines(path) if record["step"] <= step]
    write_whole(path, "".join(json.dumps(record) + "\n" for record in kept))
