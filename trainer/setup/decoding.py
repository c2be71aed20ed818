"""How the images of a run are decoded: on what, by whom, and within how many bytes.

What `auto` becomes is settled once, by the first rank at a run's first start, and written into the
run's config: other ranks, a run that goes on and an evaluation decode every image alike.
"""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from augengine.decoders.create_decoder import create_decoder
from augengine.decoders.decoder import Decoder
from augengine.decoders.trial import create_tuned_decoder
from augengine.decoders.tuning import WorkSplit
from augengine.devices.free_memory import free_bytes, free_host_bytes
from augengine.loader.in_flight import decoded_bytes
from shards.index import ShardIndex
from shards.terminal.bytesize import show_size
from trainer.config import TrainConfig
from trainer.distributed import on_first, world_size
from trainer.settings.data_config import DataConfig
from trainer.setup.sharedcache import Neighbours

SHARE = 0.25  # of what is free at the start, where data.decoded_bytes is null
_SAMPLE = 1000  # images whose sizes stand for all


@dataclass(frozen=True, slots=True)
class Decoding:
    """A run's decoder, and the most bytes of its images that exist at a time."""

    decoder: Decoder
    max_bytes: int | None  # None: the system does not say what is free
    notes: tuple[str, ...]


def views_device(data: DataConfig, device: torch.device) -> torch.device:
    """Where views are made, of a run that trains on `device`."""
    return torch.device("cpu") if data.augment_device == "cpu" else device


def open_decoder(data: DataConfig, device: torch.device) -> Decoder:
    """The decoder of a config as its run has it; of one that has left it open, the CUDA kernels."""
    load = data.hardware_load
    split = None if load is None else WorkSplit(load)
    return create_decoder(data.decoder, views_device(data, device), data.num_decode_threads, split)


def settle_decoding(
    config: TrainConfig, device: torch.device, index: ShardIndex
) -> tuple[Decoding, TrainConfig]:
    """The decoding of a run, and its config with what was found out; every rank calls it."""
    data = config.data
    decoder, note = create_tuned_decoder(
        data.decoder,
        views_device(data, device),
        data.num_decode_threads,
        index,
        data.hardware_load,
        on_first,
    )
    if note is not None and data.hardware_load is None:
        load = decoder.split.hardware_load  # pyright: ignore[reportAttributeAccessIssue]
        config = replace(config, data=replace(data, decoder_load=load))
        note += f"; kept as data.decoder_load={load:g}"
    max_bytes = data.max_decoded_bytes or _free_share(decoder.device)
    notes = (note, _describe(config, decoder, index, max_bytes))
    return Decoding(decoder, max_bytes, tuple(filter(None, notes))), config


def reading(data: DataConfig, decoder: Decoder) -> dict[str, Any]:
    """Arguments of a loader of views: how evaluations read images, which is as their run does.

    Each rank counts what is free by itself, since some sets are read by one of them alone.
    """
    max_bytes = data.max_decoded_bytes
    if max_bytes is None:
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        on_cuda = decoder.device.type == "cuda"
        free = free_bytes(decoder.device) if on_cuda else free_host_bytes()
        max_bytes = None if free is None else int(SHARE * free / (1 if on_cuda else local_ranks))
    return {
        "decoder": decoder,
        "num_workers": data.workers,
        "prefetch": data.prefetch,
        "decoded_bytes": max_bytes,
        "bad_budget": data.bad_budget,
        "on_bad": data.on_bad,
        "verify": data.verify,
        "stall_s": data.stall_seconds,
    }


def _free_share(device: torch.device) -> int | None:
    """A share of what is free for this process, on the device where images arrive."""
    if device.type == "cuda":
        return int(SHARE * free_bytes(device))
    neighbours, free = Neighbours(), free_host_bytes()
    # What one of them has taken is no longer free for the next, so the first one's number counts.
    free = neighbours.agree(-1 if free is None else free)
    return None if free < 0 else int(SHARE * free / len(neighbours))


def _describe(
    config: TrainConfig, decoder: Decoder, index: ShardIndex, max_bytes: int | None
) -> str:
    data, images = config.data, config.loop.images_per_forward // world_size()
    batch = images * mean_decoded_bytes(index)
    bound = "without a bound" if max_bytes is None else f"at most {show_size(max_bytes)} at a time"
    in_pieces = ""
    if max_bytes is not None and batch > max_bytes:
        in_pieces = ", so that a batch is made in pieces"
    threads = data.num_decode_threads
    return (
        f"decoding: {decoder.name} on {decoder.device.type}, {threads} thread"
        f"{'' if threads == 1 else 's'}; decoded images {bound}, about {show_size(int(batch))} a "
        f"batch{in_pieces}"
    )


def mean_decoded_bytes(index: ShardIndex) -> float:
    """Of an image of the set, by the sizes of some."""
    sizes: np.ndarray = index.sizes(index.spread(_SAMPLE))
    return decoded_bytes(sizes) / max(1, len(sizes))
