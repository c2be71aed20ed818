"""Which samples could not be used, and why: RUN/bad-samples-rankR.jsonl, a line each.

Every rank writes what it met itself: once a start, the step and epoch when it was first met, and
the sample that took its place then. `data` tells the training set from the evaluation set; an
evaluation leaves its bad samples out, of either set, so those have no substitute. A continued run
first drops the lines of steps that will come again. Without a bad sample there is no file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from augengine.loader.bad_samples import BadSample
from augengine.loader.view_loader import ViewLoader
from augengine.views import Views
from trainer.distributed import rank, world_size
from trainer.record.jsonlines import JsonLines, drop_after, read_lines

PATTERN = "bad-samples-rank*.jsonl"


class BadLog:
    """This rank's file; a context manager."""

    def __init__(self, run: Path, *, from_step: int) -> None:
        self._path = run / f"bad-samples-rank{rank()}.jsonl"
        # And, by the first rank, of ranks that only a former, larger world had.
        for path in run.glob(PATTERN):
            number = int(path.stem.removeprefix("bad-samples-rank"))
            if number == rank() or (rank() == 0 and number >= world_size()):
                drop_after(path, from_step)
        self._lines: JsonLines | None = None
        self._num_written = 0
        self._evaluated: set[tuple[str, int]] = set()  # of them, what is written

    def watch(self, loader: ViewLoader, batch_size: int) -> Iterator[Views]:
        """The loader's batches; what was bad on the way to one is written down before it is given.

        Also on the way to the batch that is over the budget, which is never given.
        """
        while True:
            step = loader.cursor.position // batch_size + 1
            try:
                views = next(loader)
            finally:
                self._write(loader, step)
            yield views

    def add_evaluated(self, step: int, bad: Mapping[tuple[str, int], BadSample]) -> None:
        """What evaluations met so far, by set and id; what is new is written down."""
        for (data, id), sample in bad.items():
            if (data, id) not in self._evaluated:
                self._append(step, data, sample)
                self._evaluated.add((data, id))

    def __enter__(self) -> "BadLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lines is not None:
            self._lines.close()

    def _write(self, loader: ViewLoader, step: int) -> None:
        for bad in loader.bad_samples[self._num_written :]:
            self._append(step, "train", bad)
            self._num_written += 1

    def _append(self, step: int, data: str, bad: BadSample) -> None:
        if self._lines is None:
            self._lines = JsonLines(self._path)
        self._lines.append({"step": step, "data": data, **asdict(bad)})


def describe_bad_samples(run: Path) -> str | None:
    """How many samples of the run were bad and where they are listed; None when none was."""
    bad = {
        (line.get("data", "train"), line["id"])
        for path in run.glob(PATTERN)
        for line in read_lines(path)
    }
    if not bad:
        return None
    evaluated = sum(data == "eval" for data, _ in bad)
    of_them = f" ({evaluated} of the evaluation data)" if evaluated else ""
    return f"{len(bad)} bad sample{'s' * (len(bad) > 1)}{of_them}, listed in {run / PATTERN}"
