"""The interface of a source: numbered raw samples, their classes, and a fingerprint.

`detect.open_source` makes a `Source` from what the user typed. The packer asks it for samples in a
shuffled order and hands each to a worker process. A sample's number is its place in the source's
own sorted order and becomes its key in the shards.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # [H, W] or [H, W, 3], uint8 or uint16
Payload = bytes | Pixels
LazyPayload = Callable[[], Payload]

# A source that is read in blocks is shuffled by windows of about this many samples: it keeps the
# blocks of a window in memory.
WINDOW_SAMPLES = 4096


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image as the source has it, small enough to be sent to a worker process.

    A callable as `data` is run in the worker: it reads the file or draws the image there.
    """

    name: str  # how its owner knows it: a path inside the folder, a row of a file
    label: int  # class number, NO_LABEL when there is none
    data: Payload | LazyPayload
    mask: Payload | LazyPayload | None = None  # an image, 255 where the foreground is

    def load(self) -> Payload:
        """The encoded bytes or the pixels.

        Raises:
            OSError: when the file cannot be read.
        """
        return self.data() if callable(self.data) else self.data

    def load_mask(self) -> Payload | None:
        """The same of the mask; None where there is none."""
        return self.mask() if callable(self.mask) else self.mask


class Source(Protocol):
    """A finite, numbered collection of raw samples; asking twice gives the same."""

    @property
    def kind(self) -> str:
        """One word for messages and the manifest: folder, idx, cifar, parquet, demo."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label; empty when there are no labels."""
        ...

    @property
    def labels(self) -> NDArray[np.int32]:
        """Class numbers [N], NO_LABEL where there is none."""
        ...

    @property
    def names(self) -> Sequence[str] | None:
        """The name of each sample's file inside the source [N]; None where samples are no files."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the input does; the same input in another place has the same one."""
        ...

    @property
    def stores_names(self) -> bool:
        """Whether names are worth keeping in the shards (a `.json` member for each sample)."""
        ...

    @property
    def block_sizes(self) -> NDArray[np.int64] | None:
        """Sizes of the runs of samples that are cheap to read together, None when any order is."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user about how the source was understood."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> RawSample: ...


def masks_of(source: Source) -> str:
    """What changes with the masks of a source that has some (`masks`), else an empty text."""
    return getattr(source, "masks", "")


def blocks_of(
    source: Source,
    kept: NDArray[np.int64],  # numbers of the source, ascending
) -> NDArray[np.int64] | None:
    """The block sizes of a part of a source."""
    if source.block_sizes is None:
        return None
    ends = np.cumsum(source.block_sizes)
    of_block = np.searchsorted(ends, kept, side="right")
    return np.bincount(of_block, minlength=len(ends)).astype(np.int64)


def fingerprint_of(parts: Iterable[str]) -> str:
    """The sha256 of some strings, kept apart: ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(b"%d:" % len(encoded) + encoded)
    return digest.hexdigest()
