"""Bounds the bytes of decoded images that exist at a time, however many threads make batches.

A batch of photographs from a camera takes gigabytes once it is decoded. Threads that would hold
more than the bound together wait for each other, in the order in which they came; a batch that
alone would hold more is made in pieces.

The contract. Code that differs is the bug.

Success. The bytes of all pieces inside are within the bound, or a single one is inside: an image
    that is larger than the bound is let in alone, since it could never come in otherwise.
Failure. A piece that fails leaves as any other does.
Cancel. Nobody waits for ever: who is inside never waits to come in again, and leaves.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from shards.format import MAX_IMAGE_PIXELS


class InFlight:
    """The pieces of batches whose decoded images exist now."""

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes  # None: without a bound
        self._changed = threading.Condition()
        self._bytes = 0
        self._next_ticket = 0
        self._served = 0  # tickets below were let in

    @contextmanager
    def piece(self, num_bytes: int) -> Iterator[None]:
        """Let the calling thread hold so many bytes in the body; waits until there is room."""
        with self._changed:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._changed.wait_for(lambda: ticket == self._served and self._has_room(num_bytes))
            self._served += 1
            self._bytes += num_bytes
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._bytes -= num_bytes
                self._changed.notify_all()

    def cut(
        self,
        sizes: np.ndarray,  # [B, 2] - height and width
    ) -> list[slice]:
        """The images in pieces, in order, as few as the bound allows; an image is never cut."""
        if self.max_bytes is None or decoded_bytes(sizes) <= self.max_bytes:
            return [slice(0, len(sizes))]
        firsts, held = [0], 0
        for row in range(len(sizes)):
            num_bytes = decoded_bytes(sizes[row : row + 1])
            if held and held + num_bytes > self.max_bytes:
                firsts.append(row)
                held = 0
            held += num_bytes
        return [slice(first, end) for first, end in pairwise([*firsts, len(sizes)])]

    def _has_room(self, num_bytes: int) -> bool:
        if self.max_bytes is None or not self._bytes:
            return True
        return self._bytes + num_bytes <= self.max_bytes


def decoded_bytes(
    sizes: np.ndarray,  # [B, 2] - height and width
) -> int:
    """Bytes of these images as RGB, without those that are too large to be decoded at all."""
    pixels = sizes.astype(np.int64).prod(axis=1)
    return 3 * int(pixels[pixels <= MAX_IMAGE_PIXELS].sum())
