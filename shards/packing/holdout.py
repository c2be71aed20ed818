"""The hold-out: a share of each class is kept for scores, the same samples for the same seed.

One set keeps what the other holds out, so both are packed from the same source, with the same
classes, and no image is in both. Inside a class it is the packing order that decides.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from shards.errors import UsageError


@dataclass(frozen=True, slots=True)
class HoldOut:
    """The share that is held out, and which of the two sets this is."""

    share: float | None  # of the images, between 0 and 1
    number: int | None  # of images; one of the two is given
    is_held_out: bool = False

    def __post_init__(self) -> None:
        by_share = self.share is not None and 0 < self.share < 1
        by_number = self.number is not None and self.number >= 1
        if by_share == by_number or None not in (self.share, self.number):
            raise UsageError(
                f"a hold-out is a number of images from 1 or a share between 0% and 100%, got "
                f"{self.amount}; give such as 1000 or 10%"
            )

    @property
    def amount(self) -> str:
        """The amount, as a user types it."""
        return str(self.number) if self.share is None else f"{100 * self.share:g}%"

    def other(self) -> "HoldOut":
        """The other set of the two."""
        return replace(self, is_held_out=not self.is_held_out)

    def take(self, order: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The samples of an order that belong to this set, in this order.

        Every class gives its share, rounded so that the sum is right (largest remainders). A class
        of one image stays in the training set, and no class gives all; images without a class count
        as one.

        Args:
            order: [N] int64 sample numbers, in packing order.
            labels: of all samples of the source, int32.

        Returns:
            Sample numbers [M] int64.

        Raises:
            UsageError: so many cannot be held out.
        """
        _, inverse, sizes = np.unique(labels[order], return_inverse=True, return_counts=True)
        counts = self._counts(sizes)
        # Positions by class, inside a class in packing order.
        by_class = np.argsort(inverse, kind="stable")
        starts = np.cumsum(sizes) - sizes
        rank = np.empty(len(order), np.int64)
        rank[by_class] = np.arange(len(order)) - np.repeat(starts, sizes)
        held = rank < counts[inverse]
        return order[held == self.is_held_out]

    def _counts(self, sizes: np.ndarray) -> np.ndarray:
        """The number of images that each class gives, from the number it has."""
        total, room = int(sizes.sum()), np.maximum(sizes - 1, 0)
        wanted = self.number if self.number is not None else round((self.share or 0) * total)
        if not 0 < wanted <= room.sum():
            raise UsageError(
                f"a hold-out takes 1 to {room.sum():,} of these {total:,} images, since each class "
                f"keeps one, got {wanted:,}; give another --hold-out"
            )
        exact = wanted * (sizes / total)
        counts = np.minimum(np.floor(exact).astype(np.int64), room)
        # The largest remainders first, equals by class; again where small classes have no room.
        while missing := wanted - int(counts.sum()):
            gap = np.where(counts < room, exact - counts, -np.inf)
            first = np.argsort(-gap, kind="stable")[: min(missing, int((counts < room).sum()))]
            counts[first] += 1
        return counts

    def recorded(self) -> dict[str, object]:
        """The manifest's entry."""
        return {"amount": self.amount, "part": "held out" if self.is_held_out else "the others"}


def parse_hold_out(text: str) -> HoldOut:
    """A hold-out from a text such as 10% or 1000; raises UsageError."""
    # A comma parts thousands: 1,5% is no 15%.
    match = re.fullmatch(r"(\d+(?:\.\d+)?(?=%)|\d{1,3}(?:,\d{3})+(?!%)|\d+)(%?)", text.strip())
    if not match:
        raise UsageError(
            f"a hold-out is a number of images from 1 or a share between 0% and 100%, got "
            f"{text!r}; give such as 1000 or 10%"
        )
    if match[2]:
        return HoldOut(float(match[1]) / 100, None)
    return HoldOut(None, int(match[1].replace(",", "")))
