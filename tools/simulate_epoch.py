"""Try an epoch of any size without an image: `python tools/simulate_epoch.py --samples 1e6`.

The order and the cursor of a run, with failures and other numbers of ranks, at up to a billion
samples; docs/scale-simulation.md explains the figures.
"""

from trainer.watch.interrupt import quiet_interrupt

if __name__ == "__main__":
    quiet_interrupt()  # before what takes seconds to import

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shards.atomic import write_whole
from shards.errors import DataError, UsageError, run_command
from shards.order import SampleOrder
from shards.terminal.commandline import CommandParser, count
from shards.terminal.console import new_bar, new_console, table_console
from shards.terminal.output_file import check_output
from tools.epoch.epoch_memory import measure_memory
from tools.epoch.epoch_run import EPOCH, plan_failures, run_epoch, steps_of_epoch
from tools.epoch.epoch_shuffle import (
    measure_shuffle,
    opens_per_shard,
    shard_sizes,
    uniform_permutation,
)
from tools.epoch.epoch_tables import epoch_tables
from trainer.record.conditions import conditions

_DESCRIPTION = """\
Simulate one epoch of a training run, of any size, without a single image.

The sample order and the cursor are the ones a run uses; ranks, failures and images are made up. For
each size, shuffled globally and inside windows of shards, it shows
  exactly once   the epoch breaks at random steps, loses what was done since the last checkpoint and
                 goes on with another number of ranks from the cursor: how often each sample came
  shuffle        displacement (1/3 is a uniform permutation), correlation of neighbours, shards in a
                 batch, beside a uniform permutation
  opens          how often a tar is opened in an epoch, by ranks that keep 64 open
  memory         what a rank keeps to know all this
"""
_EPILOG = """\
examples:
  python tools/simulate_epoch.py                          a million samples, half a minute
  python tools/simulate_epoch.py --samples 1e6,1e8,1e9 --json epoch.json    a quarter of an hour
  python tools/simulate_epoch.py --samples 5e7 --shard-samples 2000 --window 256 --max-ranks 64

exit code: 0 every sample came exactly once, 1 some did not, 2 wrong usage
"""
_RANKS = (1, 8, 64, 512, 4096)  # for which opens are counted
# In a larger epoch the ranks of some steps are put together, not of all.
_ALL_SPLITS_BELOW = 200_000_000
_SPLITS_PER_STRETCH = 16
_SAVES_PER_EPOCH, _LEAST_STEPS_A_SAVE = 50, 4


@dataclass(frozen=True, slots=True)
class Case:
    """One size and one way to shuffle it."""

    num_samples: int
    num_shards: int
    window_shards: int | None  # None: everything together
    batch_size: int
    worlds: tuple[int, ...]  # numbers of ranks that divide the batch
    num_failures: int
    seed: int

    @property
    def order(self) -> SampleOrder:
        """The order a run of this seed would use."""
        sizes = None if self.window_shards is None else shard_sizes(*self._sizes)
        return SampleOrder(
            self.num_samples, self.seed, shard_sizes=sizes, window_shards=self.window_shards
        )

    @property
    def name(self) -> str:
        """For a table."""
        return "global" if self.window_shards is None else f"windows of {self.window_shards}"

    @property
    def _sizes(self) -> tuple[int, int]:
        return self.num_samples, self.num_shards


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return run_command(lambda: _simulate(_parser().parse_args(argv)))


def simulate(case: Case, on_samples: Callable[[int], None] = lambda n: None) -> dict[str, Any]:
    """All figures of one case, as plain numbers."""
    rng, start = np.random.default_rng(case.seed), time.perf_counter()
    order, steps = case.order, steps_of_epoch(case.num_samples, case.batch_size)
    save_every = max(_LEAST_STEPS_A_SAVE, steps // _SAVES_PER_EPOCH)
    stretches = plan_failures(steps, case.num_failures, save_every, [*case.worlds], rng)
    is_small = case.num_samples < _ALL_SPLITS_BELOW
    splits = None if is_small else _SPLITS_PER_STRETCH
    report = run_epoch(
        order, case.batch_size, stretches, splits_per_stretch=splits, rng=rng, on_samples=on_samples
    )
    seconds = time.perf_counter() - start

    def draw(positions: np.ndarray) -> np.ndarray:
        return order(EPOCH * case.num_samples + positions)[1]

    shape = case.num_samples, case.num_shards, case.batch_size
    uniform = uniform_permutation(case.num_samples, rng)
    ends = {min(case.worlds), max(case.worlds)}
    window = case.window_shards
    return {
        **{key: value for key, value in asdict(case).items() if key != "worlds"},
        "order": case.name,
        "save_every_steps": save_every,
        "exactly_once": report.exactly_once,
        "epoch": {**asdict(report), "stretches": [asdict(stretch) for stretch in stretches]},
        "seconds": round(seconds, 1),
        "shuffle": asdict(measure_shuffle(draw, *shape, rng)),
        "uniform": asdict(measure_shuffle(uniform, *shape, rng)),
        "opens_per_shard": {
            str(world): round(
                opens_per_shard(order, EPOCH, case.num_shards, case.batch_size, world)
            )
            for world in _RANKS
            if world in case.worlds
        },
        "rank_bytes": {
            str(world): measure_memory(
                case.num_samples, case.num_shards, window, case.batch_size, world
            )
            for world in sorted(ends)
        },
    }


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python tools/simulate_epoch.py",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    add = parser.add_argument
    add("--samples", default="1e6", metavar="N,N", help="sizes (default: %(default)s)")
    add("--shard-samples", type=count, default=10_000, metavar="N", help="default: %(default)s")
    add(
        "--window",
        type=count,
        default=64,
        metavar="SHARDS",
        help="shards shuffled together, beside the global order (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=count,
        default=12_288,
        metavar="N",
        help="over all ranks (default: %(default)s, which many numbers of ranks divide)",
    )
    add("--max-ranks", type=count, default=4096, metavar="N", help="default: %(default)s")
    add("--failures", type=int, default=40, metavar="K", help="an epoch (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="also write the figures (default: none)")
    return parser


def _simulate(options: argparse.Namespace) -> int:
    check_output("--json", options.json)
    cases = list(_cases(options))
    found = []
    with new_bar(new_console(sys.stderr)) as bar:
        for case in cases:
            task = bar.add_task(f"{case.num_samples:.0e}, {case.name}", total=case.num_samples)
            found.append(simulate(case, lambda n, task=task: bar.advance(task, n)))
    if options.json is not None:
        report = {"conditions": conditions(), "cases": found}
        write_whole(options.json, json.dumps(report, indent=1) + "\n")
    console = table_console()
    for table in epoch_tables(found):
        console.print(table)
    wrong = [row for row in found if not row["exactly_once"]]
    if wrong:
        raise DataError(
            f"an epoch holds every sample once, got {wrong[0]['epoch']['times_seen']} of "
            f"{wrong[0]['num_samples']}; this is a defect, please report it with the command"
        )
    return 0


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    batch = options.batch_size
    worlds = tuple(n for n in range(1, options.max_ranks + 1) if batch % n == 0)
    if options.failures < 0:
        raise UsageError(f"--failures is at least 0, got {options.failures}")
    for text in options.samples.split(","):
        # Not float() on any text: it takes nan and loses digits.
        if not re.fullmatch(r"[1-9][0-9]*(e[0-9]{1,2})?", text.strip()):
            raise UsageError(f"--samples are numbers such as 1e6,20000, got {text!r}")
        digits, _, zeros = text.strip().partition("e")
        size = int(digits) * 10 ** int(zeros or 0)
        if not 2 * batch <= size <= 1 << 40:
            raise UsageError(
                f"--samples are at least two batches of {batch} and at most 2**40, got {text}"
            )
        num_shards = -(-size // options.shard_samples)
        for window in (None, options.window):
            yield Case(size, num_shards, window, batch, worlds, options.failures, options.seed)


if __name__ == "__main__":
    sys.exit(main())
