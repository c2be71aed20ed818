"""The scores of an evaluation where people and programs find them: row by row, as they are made.

A row is printed and in the JSON file as soon as it is there, so that an evaluation that is ended
early leaves what it had. Of several ranks the first one alone says and writes them.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shards.atomic import atomic_file
from shards.terminal.console import new_bar, new_console
from trainer.distributed import rank
from trainer.eval.evaluation import OnProgress, Score
from trainer.record.conditions import conditions as machine_conditions


def print_head(run: str) -> None:
    """The title and the names of the columns."""
    print_line(f"{run}: frozen features")
    print_line(f"{'encoder':<16}{'kNN':>8}{'linear':>8}{'width':>7}")


def print_row(score: Score) -> None:
    """One encoder's."""
    print_line(
        f"{score.what:<16}{score.knn:>8.1%}{score.linear:>8.1%}{score.feature_dim:>7}"
        + ("  linear probe cut by --probe-seconds" if score.linear_cut else "")
    )


def print_protocol(conditions: Mapping[str, Any], left_out: str) -> None:
    """The conditions that the numbers depend on."""
    raw = "raw pixels: {raw_pixels}; " if "raw_pixels" in conditions else ""
    template = (
        "top-1 on {test_images:,} held-out images of {test}, {largest_class:.1%} of them of one "
        "class; features of {train_images:,} images of {train}; {size_px} px centre views; "
        "kNN k={k}, T={temperature:g}; linear: {linear}; "
    )
    print_line(f"{template}{raw}".format(**conditions) + left_out)


def print_line(text: str) -> None:
    """On stdout, at once and as it is."""
    if rank() == 0:
        new_console(soft_wrap=True).print(text)


def write_json(
    path: Path,
    conditions: Mapping[str, Any],
    scores: Sequence[Score],
    bad_samples: Sequence[Mapping[str, Any]],
    **others: Any,
) -> None:
    """Replace the file by what is known so far, and on what machine, in one step."""
    if rank() != 0:
        return
    result: dict[str, Any] = {"conditions": {**conditions, **machine_conditions()}}
    result |= {"scores": [asdict(score) for score in scores], **others, "bad_samples": bad_samples}
    with atomic_file(path) as file:
        file.write(json.dumps(result, indent=2).encode() + b"\n")


@contextmanager
def progress_bar(what: str) -> Iterator[OnProgress]:
    """A bar on a terminal, with the time that is left of each stage; gone when it is done."""
    is_hidden = rank() != 0 or not sys.stderr.isatty()
    bar = new_bar(new_console(sys.stderr), hidden=is_hidden, transient=True)
    with bar:
        task = bar.add_task(what, total=1.0)
        last = ""

        def show(stage: str, share: float) -> None:
            nonlocal last
            if stage != last:
                last = stage
                bar.reset(task, description=f"{what}: {stage}")
            bar.update(task, completed=share)

        yield show
