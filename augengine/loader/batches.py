"""Makes one batch of views from its number: ids, load, replace the bad, draw, move, augment.

This is a worker thread's body. A batch depends only on its number (and the seed and policy), so
which thread makes it, and when, changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from augengine.backends.backend import Backend
from augengine.backends.heavy_views import heavy_views
from augengine.backgrounds.composites import make_views
from augengine.devices.streams import borrow_stream, numbered, sleep_until_done, upload
from augengine.loader.image_source import ImageSource
from augengine.loader.in_flight import InFlight, decoded_bytes
from augengine.loader.mask_source import MaskSource
from augengine.loader.meter import Meter
from augengine.loader.samples import Drawn, Samples
from augengine.plan import Plan
from augengine.views import BadSample, Views, join_views
from shards.index import ShardIndex, labels_of, sizes_of

# Draws of a substitute for one sample. With 10 % bad samples one in 10^8 uses them all up.
MAX_SUBSTITUTES = 8
# Ids, epochs and image sizes to a plan; where there are masks, `has_mask` by its name.
Drawer = Callable[..., Plan]
Masks = list[torch.Tensor | None]


@dataclass(frozen=True, slots=True)
class Batch:
    """The result of a worker: finished views or none, and the bad samples it met."""

    views: Views | None  # None: a bad sample had no good substitute, or nothing was left
    bad: tuple[BadSample, ...]
    num_drawn: int  # samples asked for, substitutes included


class BatchMaker:
    """One thread's way from a batch's number to its views; made on that thread.

    On CUDA it works on the backend's GPU, or on the one that views are handed over on, on a side
    stream of its own.

    A batch is returned when its kernels have finished, so the consumer's stream need not wait for
    anything, its measured wait is honest, and no more batches than planned occupy the device.
    """

    def __init__(
        self,
        index: ShardIndex,
        samples: Samples,
        source: ImageSource,
        draw: Drawer,
        backend: Backend,
        meter: Meter,
        masks: MaskSource | None = None,  # for a policy that changes backgrounds
        in_flight: InFlight | None = None,  # shared by all threads; None: without a bound
        hand_over_on: torch.device | None = None,  # None: where the backend makes views
    ) -> None:
        self._index = index
        self._samples = samples
        self._source = source
        self._draw = draw
        self._backend = backend
        self._meter = meter
        self._masks = masks
        self._in_flight = InFlight() if in_flight is None else in_flight
        there = backend.device if hand_over_on is None else hand_over_on
        self._moves_to = None if there.type == backend.device.type else there
        is_cuda = there.type == "cuda"
        if is_cuda:
            # A new thread begins on the first GPU; kernels, pinned memory and whatever a library
            # allocates would go there.
            torch.cuda.set_device(numbered(there))
        self._stream = borrow_stream(numbered(there), self) if is_cuda else None

    def __call__(self, number: int) -> Batch:
        """Batch `number`: a bad sample is replaced through the samples' order, else left out."""
        drawn = self._samples.batch(number)
        # Without a stream `torch.cuda.stream` does nothing.
        with self._meter.batch(number, len(drawn.ids)), torch.cuda.stream(self._stream):
            return self._make(drawn)

    def _make(self, drawn: Drawn) -> Batch:
        records = self._index.rows(drawn.ids)
        # Background donors are other images of the batch, so all of them must be there at once.
        whole = [slice(0, len(records))]
        pieces = whole if self._masks is not None else self._in_flight.cut(sizes_of(records))
        made = []
        for piece in pieces:
            with self._in_flight.piece(decoded_bytes(sizes_of(records[piece]))):
                made.append(self._make_piece(drawn, piece, records[piece]))
        batch = made[0] if len(made) == 1 else self._joined(made)
        if self._moves_to is None or batch.views is None:
            return batch
        return replace(batch, views=self._handed_over(batch.views, self._moves_to))

    def _joined(self, pieces: list[Batch]) -> Batch:
        """The batch that was made in pieces."""
        views = [piece.views for piece in pieces if piece.views is not None]
        bad = tuple(sample for piece in pieces for sample in piece.bad)
        num_drawn = sum(piece.num_drawn for piece in pieces)
        if not views or (self._samples.order is not None and len(views) < len(pieces)):
            return Batch(None, bad, num_drawn)
        ids = np.concatenate([part.ids for part in views])
        epochs = np.concatenate([part.plan.epochs for part in views])
        # Of an image alone, so it is what was drawn for each piece.
        plan = self._draw(ids, epochs, self._index.sizes(ids))
        return Batch(join_views(views, plan, bad), bad, num_drawn)

    def _handed_over(self, views: Views, device: torch.device) -> Views:
        with self._meter.measure("transfer", views.batch_size):
            moved = views.to(device)
            if self._stream is not None:
                sleep_until_done(self._stream)
        return moved

    def _make_piece(self, drawn: Drawn, piece: slice, records: np.ndarray) -> Batch:
        epochs, ids = drawn.epochs[piece], drawn.ids[piece]
        used = ids.copy()
        images, masks = self._load(ids, records)
        bad = [(row, image) for row, image in enumerate(images) if isinstance(image, BadSample)]
        bad += self._replace(epochs, ids, used, records, images, masks)
        good = {row: image for row, image in enumerate(images) if not isinstance(image, BadSample)}
        met = tuple(
            replace(
                sample,
                epoch=int(epochs[row]),
                substitute=int(used[row]) if row in good else None,
            )
            for row, sample in bad
        )
        num_drawn = len(good) + len(bad)  # each load gave one or the other
        if not good or (self._samples.order is not None and len(good) < len(ids)):
            return Batch(None, met, num_drawn)
        rows = list(good)
        used, records = used[rows], records[rows]
        kept = None if masks is None else [masks[row] for row in rows]
        plan, crops, heavy = self._augment(epochs[rows], used, records, list(good.values()), kept)
        views = Views(crops, used, labels_of(records), plan, met, drawn.cursor, heavy)
        return Batch(views, met, num_drawn)

    def _load(
        self, ids: np.ndarray, records: np.ndarray
    ) -> tuple[list[torch.Tensor | BadSample], Masks | None]:
        images = self._source.load(ids, records)
        return images, None if self._masks is None else self._masks.load(ids, records, images)

    def _replace(
        self,
        epochs: np.ndarray,
        ids: np.ndarray,
        used: np.ndarray,
        records: np.ndarray,
        images: list[torch.Tensor | BadSample],
        masks: Masks | None,
    ) -> list[tuple[int, BadSample]]:
        """Fill the bad rows of the last four; returns the substitutes that were bad too."""
        bad: list[tuple[int, BadSample]] = []
        if self._samples.order is None:
            return bad
        for attempt in range(MAX_SUBSTITUTES):
            rows = [row for row, image in enumerate(images) if isinstance(image, BadSample)]
            if not rows:
                break
            used[rows] = self._samples.order.substitute(epochs[rows], ids[rows], attempt)
            records[rows] = self._index.rows(used[rows])
            loaded, their_masks = self._load(used[rows], records[rows])
            if masks is not None and their_masks is not None:
                for row, mask in zip(rows, their_masks, strict=True):
                    masks[row] = mask
            for row, image in zip(rows, loaded, strict=True):
                images[row] = image
                if isinstance(image, BadSample):
                    bad.append((row, image))
        return bad

    def _augment(
        self,
        epochs: np.ndarray,
        ids: np.ndarray,
        records: np.ndarray,
        images: list[torch.Tensor],
        masks: Masks | None,
    ) -> tuple[Plan, tuple[torch.Tensor, ...], torch.Tensor | None]:
        with self._meter.measure("draw", len(ids)):
            known = {}
            if masks is not None:
                known["has_mask"] = np.array([mask is not None for mask in masks])
            plan = self._draw(ids, epochs, sizes_of(records), **known)
        kind = self._backend.device.type
        # Some may be there already: those of a cache.
        if not all(image.device.type == kind for image in images):
            with self._meter.measure("transfer", len(ids)):
                there = self._backend.device
                images = [i if i.device.type == kind else upload(i, there) for i in images]
        with self._meter.measure("augment", len(ids)):
            if masks is None:
                crops = self._backend(images, plan)
            else:
                there = self._backend.device
                masks = [mask if mask is None else mask.to(there) for mask in masks]
                crops = make_views(self._backend, images, plan, masks)
            heavy = heavy_views(crops, plan)
            # `images` live until here: a decoder may reuse their memory once they are dropped.
            if self._stream is not None:
                sleep_until_done(self._stream)
        return plan, crops, heavy
