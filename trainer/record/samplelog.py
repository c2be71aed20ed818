"""The samples of a run in two files a rank: those it trained on, and those it could not use.

    RUN/ids-rankR.jsonl          a line a forward, with run.record_ids=true: for an audit of what a
                                 run with crashes, restarts and other numbers of ranks has seen
    RUN/bad-samples-rankR.jsonl  a line a bad sample, once a start: when it was first met, and what
                                 took its place; without a bad sample there is no file

Every rank writes what it met itself, after each step. `data` tells the training set from the
evaluation set; an evaluation leaves its bad samples out, of either set, so those have no
substitute. A continued run first drops the lines of steps that will come again: the lines of all
ranks together hold each step once.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from augengine.views import BadSample, Origin
from trainer.distributed import rank, world_size
from trainer.record.jsonlines import JsonLines, drop_after, read_lines

IDS, BAD = "ids-rank", "bad-samples-rank"
PATTERNS = (f"{IDS}*.jsonl", f"{BAD}*.jsonl")


class SampleLog:
    """This rank's files; a context manager."""

    def __init__(self, run: Path, *, from_step: int, record_ids: bool) -> None:
        for name in (IDS, BAD):
            for path in run.glob(f"{name}*.jsonl"):
                of_rank = path.stem.removeprefix(name)
                if not of_rank.isdecimal():
                    continue  # somebody's copy
                # The first rank's are also those that only a former, larger world had.
                if int(of_rank) == rank() or (rank() == 0 and int(of_rank) >= world_size()):
                    drop_after(path, from_step)
        self._ids = JsonLines(run / f"{IDS}{rank()}.jsonl") if record_ids else None
        self._bad: JsonLines | None = None
        self._bad_path = run / f"{BAD}{rank()}.jsonl"
        self._replaced: set[int] = set()
        self._left_out: set[tuple[str, int]] = set()

    @property
    def replaced_ids(self) -> Collection[int]:
        """The training samples that were bad so far."""
        return self._replaced

    def add_step(self, step: int, origins: Iterable[Origin]) -> None:
        """The batches of a step, a forward each."""
        for origin in origins:
            self.add_bad(step, origin.bad)
            if self._ids is not None:
                epochs, ids = origin.epochs.tolist(), origin.ids.tolist()
                self._ids.append({"step": step, "epochs": epochs, "ids": ids})

    def add_bad(self, step: int, bad: Iterable[BadSample]) -> None:
        """Bad training samples that were met on the way to a step; each is written once."""
        for sample in bad:
            if sample.id not in self._replaced:
                self._append(step, "train", sample)
                self._replaced.add(sample.id)

    def add_evaluated(self, step: int, bad: Mapping[tuple[str, int], BadSample]) -> None:
        """Write down the bad samples of evaluations so far, by set and id, each once."""
        for (data, id), sample in bad.items():
            if (data, id) not in self._left_out:
                self._append(step, data, sample)
                self._left_out.add((data, id))

    def __enter__(self) -> "SampleLog":
        return self

    def __exit__(self, *_: object) -> None:
        for lines in (self._ids, self._bad):
            if lines is not None:
                lines.close()

    def _append(self, step: int, data: str, bad: BadSample) -> None:
        if self._bad is None:
            self._bad = JsonLines(self._bad_path)
        self._bad.append({"step": step, "data": data, **asdict(bad)})


def count_ids(run: Path) -> Counter[tuple[int, int]]:
    """The times that the run trained on each (epoch, sample), over all ranks."""
    counts: Counter[tuple[int, int]] = Counter()
    for path in run.glob(f"{IDS}*.jsonl"):
        for line in read_lines(path):
            counts.update(zip(line["epochs"], line["ids"], strict=True))
    return counts


def describe_bad_samples(run: Path) -> str | None:
    """A sentence about the run's bad samples and the file that lists them; None without any."""
    pattern = f"{BAD}*.jsonl"
    bad = {
        (line.get("data", "train"), line["id"])
        for path in run.glob(pattern)
        for line in read_lines(path)
    }
    if not bad:
        return None
    evaluated = sum(data.startswith("eval") for data, _ in bad)
    of_them = f" ({evaluated} of the evaluation data)" if evaluated else ""
    return f"{len(bad)} bad sample{'s' * (len(bad) > 1)}{of_them}, listed in {run / pattern}"
