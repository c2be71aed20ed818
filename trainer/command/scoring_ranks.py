"""The ranks of an evaluation: torchrun's, joined for its duration, or this process alone.

Every rank makes features of its share of the images; the first one speaks and writes.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from shards.errors import DataError, UsageError
from trainer.checks import require
from trainer.config import TrainConfig
from trainer.distributed import process_group
from trainer.setup.device import choose_device

_LONGEST_PROBE_S = 1e6  # that the others wait for


def refuse_ranks(what: str) -> None:
    """UsageError under torchrun."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    rule = f"{what} runs in one process"
    require(ranks == "1", rule, f"WORLD_SIZE={ranks}", "start it without torchrun")


@contextmanager
def scoring_ranks(config: TrainConfig, args: argparse.Namespace) -> Iterator[torch.device]:
    """Join the ranks; gives this one's device. Errors say which rank's they are.

    Raises:
        DataError: another rank has ended, or takes longer than the others wait: the run's
            collective_seconds, and the time of a probe, which the first rank fits.
    """
    timeout_s = config.run.collective_seconds + min(args.probe_seconds, _LONGEST_PROBE_S)
    name = config.run.device
    try:
        with process_group(choose_device(name).type, timeout_s) as local_rank:
            yield choose_device(name, local_rank)
    except (UsageError, DataError) as error:
        if "RANK" in os.environ:  # lines of several processes in one log
            raise type(error)(f"rank {os.environ['RANK']}: {error}") from error
        raise


def say_first(lines: Iterable[str]) -> None:
    """Write lines to stderr, on the first rank alone; ranks need not have been joined."""
    if os.environ.get("RANK", "0") == "0":
        sys.stderr.writelines(f"{line}\n" for line in lines)
