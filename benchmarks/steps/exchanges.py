"""What ranks exchange in one optimizer step of every method: how often, and how many bytes.

    python -m benchmarks.steps.exchanges [--methods swav,dino] [--check]

The step of step_counts.py, on `meta` tensors, as the first of 8 ranks of which the others are not
there: torch's fake process group answers at once. Every collective is recorded where torch hands it
over; bytes are what one rank gives, in float32. Gradients are those of all trained parameters,
which DDP exchanges in buckets. What batch norms exchange is the difference between a step in which
ranks share batch statistics and one in which they do not, in the form for CPUs; the rest is the
method's own. Counts are a pure function of the code and of torch's version; exchanges.json of
benchmarks/results keeps them, and with --check another count is an error.
"""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.steps.count_command import KeptCount
from benchmarks.steps.operator_count import Count
from benchmarks.steps.step_counts import IMAGES, counted_step
from shards.errors import DataError
from trainer.methods.method_table import METHODS
from trainer.nets.batchnorm import synchronize_batch_norm

SETTINGS = {"msf": {"groups": 8}}  # where eight ranks cannot have the default
RESULTS = Path(__file__).parents[1] / "results" / "exchanges.json"
ENCODER, RANKS = "resnet50", 8
# Names of torch's operators, as people say them.
KINDS = {"allreduce": "all-reduce", "allgather": "all-gather", "reduce_scatter": "reduce-scatter"}


def main(argv: list[str] | None = None) -> int:
    """Count, and write or compare; returns the exit code."""
    return KeptCount(
        module="benchmarks.steps.exchanges",
        description=__doc__ or "",
        names=[name for name in METHODS if name != "distill"],  # it needs a teacher's file
        results=RESULTS,
        settings={"encoder": ENCODER, "ranks": RANKS, "images_a_rank": IMAGES, "views": "2+6"},
        count=count_exchanges,
        lines=lambda name, found: [f"{name:14} {json.dumps(found)}"],
        refuse=refuse_others,
    ).main(argv)


def refuse_others(name: str, found: dict[str, Any], kept: dict[str, dict[str, Any]]) -> None:
    """DataError when a step of the method exchanges other than is kept."""
    if found != kept.get(name):
        raise DataError(
            f"a step of {name} exchanges what {RESULTS.name} says, got {found} for "
            f"{kept.get(name)}; write it anew: python -m benchmarks.steps.exchanges --methods "
            f"{name}, python docs/make.py exchanges"
        )


def count_exchanges(name: str) -> dict[str, Any]:
    """Bytes of gradients; calls and bytes of the method and of its batch norms, by collective."""
    settings = SETTINGS.get(name)
    with _fake_ranks():
        count, method = counted_step(name, ENCODER, is_first=True, settings=settings)
        own = _by_kind(count)
        trained = (p for p in method.parameters() if p.requires_grad)
        found = {"gradient_bytes": sum(p.nbytes for p in trained), "method": own}
        if method.sync_batch_norm:
            shared, _ = counted_step(
                name, ENCODER, synchronize_batch_norm, is_first=True, settings=settings
            )
            both = _by_kind(shared)
            rest = {kind: np.subtract(both[kind], own.get(kind, (0, 0))).tolist() for kind in both}
            found["batch_norm"] = {kind: counts for kind, counts in rest.items() if any(counts)}
        return found


def _by_kind(count: Count) -> dict[str, list[int]]:
    """Calls, and the bytes that a rank gives."""
    return {
        KINDS[kind.strip("_").removesuffix("_base")]: [calls, count.collective_bytes[kind]]
        for kind, calls in sorted(count.collectives.items())
    }


@contextlib.contextmanager
def _fake_ranks() -> Iterator[None]:
    """This process is the first of eight, and nobody is asked."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=RANKS)
    try:
        yield
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
