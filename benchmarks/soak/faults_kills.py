"""Kills training runs of two ranks at random moments and counts what is lost or done twice.

    python -m benchmarks.soak.faults_kills [--runs 50] [--seed 0] [--grace SECONDS] [--out FILE]

A run is killed with SIGKILL once or twice, one rank or both, at a random moment or inside a
checkpoint write (half written, before the rename, before last.pt), is started again by the same
command with `--resume auto`, and at its end has the weights, bit for bit, and the multiset of
(epoch, sample) of a run that nobody killed. One more goes on with 2, 1, 3 and 2 ranks.
"""

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

import trainer.checkpoint as checkpoint
from benchmarks.soak.faults_ranks import PLACES, Kill, start_ranks
from benchmarks.soak.faults_run import BATCH, NUM_IMAGES, STEPS, expected_ids, write_tar
from shards.atomic import write_whole
from shards.errors import DataError, run_command
from shards.terminal.commandline import CommandParser
from trainer.record.conditions import conditions
from trainer.record.samplelog import count_ids

DEFAULT_OUT = Path(__file__).parents[1] / "results" / "faults.json"


@dataclass(slots=True)
class Found:
    """Counts over all runs."""

    runs: int = 0
    kills: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("at a moment", *PLACES), 0)
    )
    bit_equal: int = 0
    exactly_once: int = 0
    max_survivor_s: float = 0.0  # from the kill of one rank to the end of the other


def main(argv: list[str] | None = None) -> int:
    """Kill, compare, write the figures; 1 when a run differs."""
    parser = CommandParser("python -m benchmarks.soak.faults_kills", __doc__)
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    grace = "a rank that outlives a killed one by this is killed too (default: it ends by itself)"
    parser.add_argument("--grace", type=float, default=math.inf, metavar="SECONDS", help=grace)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="FILE")
    return run_command(lambda: _benchmark(parser.parse_args(argv)))


def _benchmark(options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_tar(folder / "shards")
        whole = folder / "whole"
        start = time.monotonic()
        _finish(whole, folder / "shards", world=2)
        duration = time.monotonic() - start
        worlds = (2, 1, 3, 2)
        changed = _change_worlds(folder / "worlds", folder / "shards", worlds, rng)
        settings = {"images": NUM_IMAGES, "batch": BATCH, "steps": STEPS, "ranks": 2}
        section: dict[str, Any] = {
            "conditions": conditions(),
            "settings": settings | {"asked_runs": options.runs},
            "uninterrupted_s": round(duration, 2),
            "worlds": {"ranks": worlds, "exactly_once": changed},
        }
        found = Found()
        for number in range(options.runs):
            kills = [_draw_kill(rng, duration) for _ in range(rng.randint(1, 2))]
            _one_run(folder / f"run-{number}", whole, kills, options.grace, found)
            print(f"{number + 1} of {options.runs}: {found}", file=sys.stderr, flush=True)
            # After each: who stops this early keeps what was found.
            merge_section(options.out, "kills", section | asdict(found))
    return int(not (found.bit_equal == found.exactly_once == found.runs and changed))


def merge_section(path: Path, name: str, section: dict[str, Any]) -> None:
    """Set one section of a JSON file and leave the others."""
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_whole(path, json.dumps(report | {name: section}, indent=2) + "\n")


def _one_run(run: Path, whole: Path, kills: Sequence[Kill], grace_s: float, found: Found) -> None:
    shards = whole.parent / "shards"
    found.runs += 1
    for kill in kills:
        codes, survivor_s = start_ranks(run, shards, world=2, kill=kill, grace_s=grace_s)
        if any(codes):
            found.kills[kill.place] += 1
            found.max_survivor_s = max(found.max_survivor_s, round(survivor_s, 2))
    _finish(run, shards, world=2)
    found.bit_equal += _last(run) == _last(whole)
    found.exactly_once += count_ids(run) == expected_ids()


def _change_worlds(run: Path, shards: Path, worlds: Sequence[int], rng: random.Random) -> bool:
    """Whether a run over several worlds, killed in all but the last, sees every sample once."""
    for world in worlds[:-1]:
        kill = Kill(rng.choice(PLACES), write=rng.randint(2, 3))
        if not any(start_ranks(run, shards, world=world, kill=kill)[0]):
            raise DataError(f"a run must be killed before its end, got {kill} too late")
    _finish(run, shards, world=worlds[-1])
    return count_ids(run) == expected_ids()


def _finish(run: Path, shards: Path, *, world: int) -> None:
    codes, _ = start_ranks(run, shards, world=world)
    if any(codes):
        raise DataError(f"a run that nobody kills ends well, got exit codes {codes}: see {run}.log")


def _draw_kill(rng: random.Random, duration: float) -> Kill:
    place = rng.choice(("at a moment", "at a moment", "at a moment", *PLACES))
    ranks = rng.choice(((0,), (1,), (0, 1)))
    if place == "at a moment":
        return Kill(place, after_s=round(rng.uniform(0, duration), 3), ranks=ranks)
    return Kill(place, write=rng.randint(1, STEPS // 4))


def _last(run: Path) -> list[object]:
    """Everything of the last checkpoint that was learned, tensors as their bytes."""
    state = checkpoint.load(checkpoint.find(run))
    del state["config"]
    return list(_leaves(state))


def _leaves(value: object, where: str = "") -> Iterator[object]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{i}]")
    elif isinstance(value, torch.Tensor):
        yield where, value.dtype, value.shape, value.contiguous().numpy().tobytes()
    else:
        yield where, value


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
