"""Which samples every step trained on, written down: RUN/ids-rankR.jsonl with run.record_ids=true.

For an audit of what a run with crashes, restarts and other numbers of ranks has really seen. A
line is one forward of one rank. A continued run first drops the lines of steps that will come
again, so the lines of all files together hold each step once.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from augengine.loader.view_loader import ViewLoader
from augengine.views import Views
from trainer.distributed import rank, world_size
from trainer.record.jsonlines import JsonLines, drop_after, read_lines

PATTERN = "ids-rank*.jsonl"


class IdLog:
    """This rank's file; a context manager."""

    def __init__(self, run: Path, *, from_step: int) -> None:
        # Files of ranks that only a former, larger world had belong to nobody else.
        for path in run.glob(PATTERN) if rank() == 0 else ():
            if int(path.stem.removeprefix("ids-rank")) >= world_size():
                drop_after(path, from_step)
        self._lines = JsonLines(run / f"ids-rank{rank()}.jsonl", from_step=from_step)

    def watch(
        self, batches: Iterator[Views], loader: ViewLoader, batch_size: int
    ) -> Iterator[Views]:
        """The batches of the loader, each written down when it is delivered."""
        for views in batches:
            step = -(-loader.cursor.position // batch_size)
            epochs, ids = views.plan.epochs.tolist(), views.ids.tolist()
            self._lines.append({"step": step, "epochs": epochs, "ids": ids})
            yield views

    def __enter__(self) -> "IdLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()


def count_ids(run: Path) -> Counter[tuple[int, int]]:
    """How often the run trained on each (epoch, sample), over all ranks."""
    counts: Counter[tuple[int, int]] = Counter()
    for path in run.glob(PATTERN):
        for line in read_lines(path):
            counts.update(zip(line["epochs"], line["ids"], strict=True))
    return counts
