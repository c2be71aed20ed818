"""Each image's centre view, once: what most evaluations read."""

from collections.abc import Callable, Generator
from functools import partial

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.decoders.decoder import Decoder
from augengine.loader.arguments import check_kinds, whole
from augengine.loader.bad_samples import DEFAULT_BUDGET, log_bad_sample
from augengine.loader.center_plan import center_plan
from augengine.loader.deliver import DEFAULT_STALL_S
from augengine.loader.listed_loader import iter_listed_views
from augengine.plan import Plan
from augengine.policy import IMAGENET_MEAN, IMAGENET_STD
from augengine.views import BadSample, Views
from shards.index import ShardIndex


def iter_center_views(
    index: ShardIndex,
    size_px: int,
    batch_size: int,
    *,
    backend: Backend | str = "auto",
    decoder: Decoder | str = "auto",
    device: torch.device | str | None = None,  # of what is named
    ids: np.ndarray | None = None,  # [N] int - which samples; None: all of them
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
    fraction: float = 1.0,  # side of the centre square over the image's shorter side
    num_workers: int = 2,
    prefetch: int = 2,
    decoded_bytes: int | None = None,  # most of decoded images at a time (in_flight.py)
    bad_budget: float = DEFAULT_BUDGET,
    on_bad: str = "substitute",
    on_warning: Callable[[BadSample], None] = log_bad_sample,
    verify: bool = False,
    stall_s: float = DEFAULT_STALL_S,
) -> Generator[Views, None, None]:
    """Every sample once, in the order of `ids`, one centre view each; the last batch is partial.

    A bad sample is left out, and counted, as `iter_listed_views` has it.
    """
    check_kinds(index=index)
    size_px = whole("size_px", size_px)
    draw = partial(_draw, size_px=size_px, mean=mean, std=std, fraction=fraction)
    return iter_listed_views(
        index,
        draw,
        batch_size,
        backend=backend,
        decoder=decoder,
        device=device,
        ids=ids,
        num_workers=num_workers,
        prefetch=prefetch,
        decoded_bytes=decoded_bytes,
        bad_budget=bad_budget,
        on_bad=on_bad,
        on_warning=on_warning,
        verify=verify,
        stall_s=stall_s,
    )


def _draw(
    ids: np.ndarray,
    epochs: np.ndarray,
    sizes: np.ndarray,
    *,
    size_px: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    fraction: float,
) -> Plan:
    """Nothing is drawn: the same square in every epoch."""
    return center_plan(ids, sizes, size_px, mean, std, fraction=fraction)
