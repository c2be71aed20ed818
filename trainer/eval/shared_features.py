"""Features of a frozen encoder by all ranks: each makes those of its images, and they meet once.

Ranks go through their shares of both sets without waiting. Then the held-out features, which are
few, go to all of them; the training features, which may be many, stay where they were made, and the
neighbours found there are merged. A linear probe needs them in one place: the first rank. What
comes out is what one process finds, to the last bit on a CPU.

Legend: N training images, M held-out ones, D feature width, W ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from augengine.views import Views
from trainer.distributed import gather_stacked, is_distributed, on_first, rank, world_size
from trainer.eval.center_views import CenterViews, Share
from trainer.eval.features import Features, calibrated
from trainer.eval.knn import Neighbours, merge, nearest, vote
from trainer.eval.labelled import LabelledSet, LabelledSets
from trainer.eval.on_all import GivenUp, on_all

T = TypeVar("T")
Extract = Callable[[LabelledSet, Iterator[Views]], Features]


@dataclass(frozen=True, slots=True)
class SharedFeatures:
    """Both sets' features; all ranks call its methods together."""

    train: Features  # of this rank's images
    blocks: tuple[int, ...]  # of these, rows of one batch each
    counts: tuple[int, ...]  # [W] - training features by rank
    test: Features  # of all ranks' images, in their order

    def knn_accuracy(self, k: int, temperature: float) -> float:
        """The share of held-out features told rightly by all training ones; k is capped at N."""
        train, k = self.train, min(k, sum(self.counts))
        found = nearest(train.values, train.labels, self.blocks, self.test.values, k)
        near = gather_stacked(found.similarities)  # [W, M, k]
        labels = gather_stacked(found.labels)
        both = merge([Neighbours(*pair) for pair in zip(near, labels, strict=True)])
        return (vote(both, temperature) == self.test.labels).float().mean().item()

    def on_first(self, work: Callable[[Features, Features], T]) -> T:
        """The result of a work that needs all training and held-out features in one place."""
        values = _to_first(self.train.values, self.counts)
        labels = _to_first(self.train.labels, self.counts)
        return on_first(lambda: work(Features(values, labels), self.test))


def share_features(views: CenterViews, sets: LabelledSets, extract: Extract) -> SharedFeatures:
    """Make the features of both sets, each rank its share of the images.

    Raises:
        GivenUp: some rank's `extract` raised it.
        UsageError, DataError: some rank's did; or too many images cannot be read. On all ranks.
    """
    parts = (sets.train, sets.test)
    found: list[Features] = []

    def work() -> tuple[tuple[Share, ...], int]:
        shares = (Share(), Share())
        for part, share in zip(parts, shares, strict=True):
            found.append(extract(part, views.of_rank(part, share)))
        return shares, max(features.values.shape[1] for features in found)

    reports = on_all(work)
    for number, part in enumerate(parts):
        views.settle(part, [shares[number] for shares, _ in reports])
    width = max(width for _, width in reports)
    # A rank without images does not know the width.
    train, test = (
        Features(features.values.reshape(-1, width), features.labels) for features in found
    )
    train_counts, test_counts = (
        tuple(sum(shares[number].rows) for shares, _ in reports) for number in range(2)
    )
    blocks = tuple(reports[rank()][0][0].rows)
    whole = Features(_to_all(test.values, test_counts), _to_all(test.labels, test_counts))
    return SharedFeatures(train, blocks, train_counts, whole)


@contextmanager
def alike(module: nn.Module) -> Iterator[None]:
    """The module has the first rank's buffers in the body, and its own again afterwards.

    Parameters are the same on all ranks; statistics may be each rank's own (MoCo's).
    """
    buffers = list(module.buffers()) if is_distributed() else []
    own = [buffer.clone() for buffer in buffers]
    try:
        for buffer in buffers:
            dist.broadcast(buffer, 0)
        yield
    finally:
        for buffer, value in zip(buffers, own, strict=True):
            buffer.copy_(value)


def calibrated_on_first(
    backbone: nn.Module, views: Callable[[], Iterator[Views]], device: torch.device
) -> nn.Module:
    """A copy, `calibrated` on the first rank alone; `alike` brings its statistics to the others.

    Raises:
        GivenUp: `views` raised it.
        DataError: images that cannot be read.
    """
    copied: nn.Module | None = None

    def work() -> bool:
        nonlocal copied
        try:
            copied = calibrated(backbone, views(), device)
        except GivenUp:
            return False
        return True

    if not on_first(work):
        raise GivenUp
    return calibrated(backbone, (), device) if copied is None else copied


def _to_all(
    rows: torch.Tensor,  # [n, ...] - this rank's, as many as its count
    counts: Sequence[int],  # [W]
) -> torch.Tensor:
    """The rows of all ranks in rank order, on all of them."""
    if not is_distributed():
        return rows
    stacked = gather_stacked(_padded(rows, max(counts)))
    return torch.cat([part[:count] for part, count in zip(stacked, counts, strict=True)])


def _to_first(
    rows: torch.Tensor,  # [n, ...] - this rank's, as many as its count
    counts: Sequence[int],  # [W]
) -> torch.Tensor:
    """The rows of all ranks in rank order, on the first; the others keep theirs."""
    if not is_distributed():
        return rows
    padded = _padded(rows, max(counts))
    parts = [torch.empty_like(padded) for _ in range(world_size())] if rank() == 0 else None
    dist.gather(padded, parts, 0)
    if parts is None:
        return rows
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def _padded(rows: torch.Tensor, length: int) -> torch.Tensor:
    """[length, ...], since collectives take the same from every rank."""
    padded = rows.new_zeros(length, *rows.shape[1:])
    padded[: len(rows)] = rows
    return padded
