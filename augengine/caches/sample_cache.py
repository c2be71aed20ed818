"""Samples that need not be read, or not even decoded, a second time.

`host` keeps encoded bytes in memory, for shards on a slow disk; `gpu` keeps decoded pixels on the
device, for sets that fit there: from the second epoch on nothing is read or decoded.

The contract. Code that differs is the bug.

Which samples are kept: the first ids up to the bound, by the sizes in the index. Neither timing nor
    threads nor the order of an epoch have a say, and nothing is thrown out. On the host they are
    kept once for all processes of the machine, where these can share memory.
What is kept: what was read and decoded without complaint. A bad sample is read, found bad and
    counted each time it comes up, as without a cache.
What comes back: the same bytes. A cached image is shared by all who ask; nobody may write to it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from augengine.caches.slots import Share, Slots
from augengine.devices.free_memory import free_bytes
from augengine.devices.streams import sleep_until_done
from shards.errors import UsageError
from shards.format import MAX_IMAGE_PIXELS
from shards.index import ShardIndex
from shards.terminal.bytesize import show_size

CACHES = ("none", "host", "gpu")
# Of the memory that is free when a run starts: the rest is for batches, activations, other users.
HOST_SHARE, GPU_SHARE = 0.5, 0.25
# Where torch and DALI let an image on a GPU begin; kernels may count on it.
GPU_ALIGNMENT_BYTES = 256


class Cache(Protocol):
    """Remembers samples by id; may be called from several threads."""

    @property
    def note(self) -> str | None:
        """A sentence for the start of a run: how much of the set is kept."""
        ...

    def get(self, ids: np.ndarray) -> list[bytes | torch.Tensor | None]:
        """Per id its encoded bytes or its decoded image, whichever is kept, or None."""
        ...

    def put(
        self, ids: np.ndarray, encoded: Sequence[bytes], images: Sequence[torch.Tensor]
    ) -> None:
        """Offer good samples, each as bytes and as image; those that have a place are kept."""
        ...


class Neighbours(Protocol):
    """The processes of one machine; each calls the same methods in the same order."""

    def __len__(self) -> int:
        """The number of processes, this one included."""
        ...

    def agree(self, number: int) -> int:
        """The first one's number."""
        ...

    def share(self, num_bytes: int) -> torch.Tensor | None:
        """[num_bytes] uint8 that all see alike, zeros; None where that is not possible."""
        ...


class NoCache:
    """Remembers nothing."""

    note = None

    def get(self, ids: np.ndarray) -> list[bytes | torch.Tensor | None]:
        """None for every id."""
        return [None] * len(ids)

    def put(
        self, ids: np.ndarray, encoded: Sequence[bytes], images: Sequence[torch.Tensor]
    ) -> None:
        """Do nothing."""


class EncodedCache:
    """Encoded bytes in host memory."""

    def __init__(
        self,
        sizes_bytes: np.ndarray,  # [N] int - of the encoded images, from the index
        max_bytes: int,
        share: Share | None = None,  # memory that other processes see too
    ) -> None:
        self._slots = Slots(sizes_bytes, max_bytes, share=share)
        where = "encoded images in host memory"
        self.note = _describe(where, self._slots, sizes_bytes, max_bytes)

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what is kept here."""
        return self._slots.is_shared

    @property
    def num_bytes(self) -> int:
        """Bytes of host memory that it will hold when all is kept; taken as they are filled."""
        return self._slots.num_bytes

    def get(self, ids: np.ndarray) -> list[bytes | torch.Tensor | None]:
        """Per id its encoded bytes or None."""
        filled = self._slots.filled(ids).tolist()
        return [
            self._slots.slot(int(id)).numpy().tobytes() if is_filled else None
            for id, is_filled in zip(ids, filled, strict=True)
        ]

    def put(
        self, ids: np.ndarray, encoded: Sequence[bytes], images: Sequence[torch.Tensor]
    ) -> None:
        """Copy the bytes of those that have a place and are not there yet."""
        rows = self._slots.claim(ids)
        for row in rows:
            self._slots.slot(int(ids[row])).numpy()[:] = np.frombuffer(encoded[row], np.uint8)
        self._slots.publish(ids[rows])


class ImageCache:
    """Decoded images on one device, in the order of their ids."""

    def __init__(
        self,
        sizes: np.ndarray,  # [N, 2] int - height and width, from the index
        max_bytes: int,
        device: torch.device | str,
    ) -> None:
        pixels = sizes[:, 0].astype(np.int64) * sizes[:, 1]
        # What is too large is never decoded, so it needs no place either.
        sizes_bytes = np.where(pixels <= MAX_IMAGE_PIXELS, 3 * pixels, 0)
        self._sizes = sizes
        self._slots = Slots(sizes_bytes, max_bytes, device, GPU_ALIGNMENT_BYTES)
        where = f"decoded images on {device}"
        self.note = _describe(where, self._slots, sizes_bytes, max_bytes)
        self._device = torch.device(device)

    def get(self, ids: np.ndarray) -> list[bytes | torch.Tensor | None]:
        """Per id its image [H, W, 3] uint8 on the device, not to be written to, or None."""
        filled = self._slots.filled(ids).tolist()
        return [
            self._image(int(id)) if is_filled else None
            for id, is_filled in zip(ids, filled, strict=True)
        ]

    def put(
        self, ids: np.ndarray, encoded: Sequence[bytes], images: Sequence[torch.Tensor]
    ) -> None:
        """Copy the pixels of those that have a place and are not there yet."""
        rows = self._slots.claim(ids)
        for row in rows:
            self._image(int(ids[row])).copy_(images[row])
        if rows and self._device.type == "cuda":
            # Who reads them does so on a stream of its own, which would not wait for these copies.
            sleep_until_done(torch.cuda.current_stream(self._device))
        self._slots.publish(ids[rows])

    def _image(self, id: int) -> torch.Tensor:
        height, width = self._sizes[id].tolist()
        return self._slots.slot(id).view(height, width, 3)


def create_cache(
    name: str,
    index: ShardIndex,
    device: torch.device | str,
    max_bytes: int | None = None,
    neighbours: Neighbours | None = None,
) -> Cache:
    """A cache for the samples of an index; its `note` says what share of them fits.

    Args:
        name: one of CACHES.
        index: says which samples there are and how large they are.
        device: where the images are wanted; `gpu` needs a CUDA device.
        max_bytes: the bound of each process; None: a share of what is free on the device now.
        neighbours: the processes that share the host's memory, all of which call this.

    Raises:
        UsageError: unknown name, `gpu` without a GPU, or more memory than there is.
    """
    device = torch.device(device)
    if name not in CACHES:
        raise UsageError(f"a cache is one of {', '.join(CACHES)}, got {name!r}")
    if name == "none":
        return NoCache()
    if name == "gpu" and device.type != "cuda":
        raise UsageError(
            f"data.cache=gpu keeps images on a GPU, got device {device}; use data.cache=host, or "
            "run on a GPU"
        )
    if name == "host":
        return _on_host(index.column("size"), max_bytes, neighbours)
    if max_bytes is None:
        max_bytes = int(GPU_SHARE * free_bytes(device))
    sizes = np.stack([index.column("height"), index.column("width")], axis=-1)
    return ImageCache(sizes, max_bytes, device)


def _on_host(
    sizes_bytes: np.ndarray, max_bytes: int | None, neighbours: Neighbours | None
) -> EncodedCache:
    number = 1 if neighbours is None else len(neighbours)
    if max_bytes is None:
        all_bytes = int(HOST_SHARE * free_bytes(torch.device("cpu")))
    else:
        all_bytes = number * max_bytes
    if neighbours is None or number == 1:
        return EncodedCache(sizes_bytes, all_bytes)
    # What is free now is no longer free for one who asks a moment later.
    all_bytes = neighbours.agree(all_bytes)
    together = min(all_bytes, int(sizes_bytes.sum(dtype=np.int64)))
    cache = EncodedCache(sizes_bytes, together, neighbours.share)
    if cache.is_shared:
        cache.note += f"; one copy for the {number} processes of this machine"
        return cache
    cache = EncodedCache(sizes_bytes, all_bytes // number)
    cache.note += f"; each of the {number} processes of this machine has a copy of its own"
    return cache


def _describe(what: str, slots: Slots, sizes_bytes: np.ndarray, max_bytes: int) -> str:
    num_images, total = len(sizes_bytes), int(sizes_bytes.sum(dtype=np.int64))
    if len(slots) == num_images:
        return f"cache: all {num_images:,} {what}, {show_size(slots.num_bytes)}"
    return (
        f"cache: the first {len(slots):,} of {num_images:,} {what} ({len(slots) / num_images:.1%}; "
        f"{show_size(max_bytes)} of {show_size(total)}); the others are read and decoded every "
        "epoch"
    )
