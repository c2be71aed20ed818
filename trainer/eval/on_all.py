"""One piece of work by all ranks, each its part: what came of it is told to all, once.

The counterpart of `on_first`. A rank that is done, or has failed, waits for the others' parts and
no longer. Without a process group it is the work alone.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch.distributed as dist

from shards.errors import DataError, UsageError
from trainer.distributed import is_distributed, rank, world_size

T = TypeVar("T")


class GivenUp(Exception):
    """An evaluation was told to stop before its end."""


def own_run(
    ids: np.ndarray,  # [N] int64
    batch_size: int,
) -> np.ndarray:
    """This rank's run of whole batches of them, the last of all ranks' runs may end within one.

    A batch is the same on any number of ranks, and so is, bit for bit, what is made of it.
    """
    batches = -(-len(ids) // batch_size)
    first, end = (batches * number // world_size() for number in (rank(), rank() + 1))
    return ids[first * batch_size : end * batch_size]


def on_all(work: Callable[[], T]) -> list[T]:
    """What `work` returned on every rank, in rank order, for every rank.

    Results are sent whole, so they should be small.

    Raises:
        UsageError, DataError: this rank's work raised it; or another's, where this one's was well,
            anything else that was raised there as a DataError.
        GivenUp: no rank failed, and one gave up.
    """
    if not is_distributed():
        return [work()]
    mine: tuple[Any, type[Exception] | None, str]
    raised: Exception | None = None
    try:
        mine = (work(), None, "")
    except Exception as error:
        is_known = isinstance(error, DataError | UsageError | GivenUp)
        mine = (
            None,
            type(error) if is_known else DataError,
            str(error) if is_known else repr(error),
        )
        raised = error
    answers: list[Any] = [None] * world_size()
    dist.all_gather_object(answers, mine)
    if raised is not None and not isinstance(raised, GivenUp):
        raise raised
    for number, (_, kind, text) in enumerate(answers):
        if kind is not None and kind is not GivenUp:
            raise kind(f"what all ranks do together must succeed, got on rank {number}: {text}")
    if any(kind is GivenUp for _, kind, _ in answers):
        raise GivenUp
    return [result for result, _, _ in answers]
