"""Two ranks of which one goes wrong: prints, as JSON, exit codes, seconds and what was written.

A script of its own, since it forks: PYTHONPATH=. python tests/benchmarks/soak/rank_faults.py FOLDER
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.soak.faults_ranks import start_ranks
from benchmarks.soak.faults_run import write_tar
from shards.reader import ShardReader
from trainer.record.report import Reporter

STEP = 5


def at_step(act: Callable[[Any], None]) -> Callable[[int], None]:
    """On rank 1, `act` with the result of step STEP."""

    def prepare(rank: int) -> None:
        note = Reporter.note

        def note_and_act(self: Reporter, progress: Any, result: Any) -> None:
            if progress.step + 1 == STEP:
                act(result)
            note(self, progress, result)

        if rank == 1:
            Reporter.note = note_and_act  # type: ignore[method-assign]

    return prepare


def fail(result: Any) -> None:
    raise ValueError("a mistake of ours")


def stall(rank: int) -> None:
    """Rank 1's reader never answers."""
    if rank == 1:
        ShardReader.read = lambda self, ids, records=None: time.sleep(1000)  # type: ignore[method-assign]


FAULTS = {
    "nan": at_step(lambda result: result.loss.fill_(float("nan"))),
    "signal": at_step(lambda result: os.kill(os.getpid(), signal.SIGUSR1)),
    "error": at_step(fail),
    "stall": stall,
}


def main(folder: Path) -> None:
    write_tar(folder / "shards")
    found = {}
    for name, prepare in FAULTS.items():
        codes, outlived_s = start_ranks(
            folder / name,
            folder / "shards",
            world=2,
            prepare=prepare,
            extra=["data.stall_seconds=3"],
        )
        text = Path(f"{folder / name}.log").read_text()
        found[name] = {"codes": codes, "outlived_s": outlived_s, "log": text}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
