"""Weighted nearest-neighbour classification of frozen features: no training, no knobs worth tuning.

A run asks for it during training, and `trainer.evaluate` after. A neighbour with cosine similarity
s votes with weight exp(s / T); the class with the most votes among the k nearest wins (InstDisc,
arXiv 1805.01978; k = 20, T = 0.07 as in DINO, arXiv 2104.14294). Published numbers depend on k:
print it.

Training features are looked at block by block, and what is nearest in two parts of the blocks is
the nearest in both: so ranks can have a part each, and the answer is the same to the last bit. Of
equally near neighbours that of the earlier block comes first.

Memory, in float32: besides the features, the queries once more and CHUNK x (rows of a block) and
2 x M x k numbers, however many training features there are. ImageNet-1k, 1,281,167 x 50,000 of
2,048 numbers: 10.5 GB of training features over all ranks, 0.4 GB of queries, 4 MB of products at
blocks of 256, 24 MB of neighbours. All products at once would be 256 GB.

Legend: N training features, M queries, D feature width, K classes, B blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from shards.errors import UsageError

NUM_NEIGHBORS = 20
TEMPERATURE = 0.07
CHUNK = 4096  # queries whose products with a block are in memory at once
BLOCK = 1024  # training features of a block, where nothing says otherwise


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What is nearest to each query, the nearest first."""

    similarities: torch.Tensor  # [M, k] float32 - minus infinity where there are fewer
    labels: torch.Tensor  # [M, k] int64


def nearest(
    train: torch.Tensor,  # [N, D] float - features with known classes
    train_labels: torch.Tensor,  # [N] int64
    blocks: Sequence[int],  # [B] - rows of each block; they add up to N
    queries: torch.Tensor,  # [M, D] float
    k: int,
    chunk: int = CHUNK,
) -> Neighbours:
    """The k nearest of these training features, which may be a part of all, or none."""
    queries = F.normalize(queries.float(), dim=1)
    found = Neighbours(
        torch.full((len(queries), k), -torch.inf, device=queries.device),
        torch.zeros(len(queries), k, dtype=torch.int64, device=queries.device),
    )
    sizes = list(blocks)
    for rows, labels in zip(train.split(sizes), train_labels.split(sizes), strict=True):
        turned = F.normalize(rows.float(), dim=1).T  # [D, b]
        for first in range(0, len(queries), chunk):
            part = slice(first, first + chunk)
            near, places = (queries[part] @ turned).topk(min(k, len(rows)), dim=1)
            similarities = torch.cat([found.similarities[part], near], dim=1)
            best = _first_k(similarities, torch.cat([found.labels[part], labels[places]], 1), k)
            found.similarities[part], found.labels[part] = best.similarities, best.labels
    return found


def merge(parts: Sequence[Neighbours]) -> Neighbours:
    """The nearest among the neighbours that follow from parts of the blocks, in their order."""
    similarities = torch.cat([part.similarities for part in parts], dim=1)
    labels = torch.cat([part.labels for part in parts], dim=1)
    return _first_k(similarities, labels, parts[0].labels.shape[1])


def vote(neighbours: Neighbours, temperature: float) -> torch.Tensor:
    """The class of each query, [M] int64."""
    # Class numbers may be ids of something: votes are for the classes that are there.
    classes, places = neighbours.labels.unique(return_inverse=True)  # [K], [M, k]
    predictions = []
    for near, index in zip(neighbours.similarities.split(CHUNK), places.split(CHUNK), strict=True):
        votes = torch.zeros(len(near), len(classes), device=near.device)
        votes.scatter_add_(1, index, (near / temperature).exp())
        predictions.append(classes[votes.argmax(dim=1)])
    return torch.cat(predictions)


def knn_predict(
    train: torch.Tensor,  # [N, D] float - features with known classes
    train_labels: torch.Tensor,  # [N] int64 - classes, any K different numbers
    queries: torch.Tensor,  # [M, D] float
    *,
    k: int = NUM_NEIGHBORS,
    temperature: float = TEMPERATURE,
    chunk: int = CHUNK,
) -> torch.Tensor:
    """The predicted class of each query, [M] int64."""
    if not 1 <= k <= len(train):
        raise UsageError(
            f"k lies between 1 and the number of training features, got {k} for {len(train)}; "
            f"set eval.k or --k to at most {len(train)}"
        )
    blocks = [len(rows) for rows in train.split(BLOCK)]
    return vote(nearest(train, train_labels, blocks, queries, k, chunk), temperature)


def knn_accuracy(
    train: torch.Tensor,  # [N, D] float
    train_labels: torch.Tensor,  # [N] int64
    test: torch.Tensor,  # [M, D] float
    test_labels: torch.Tensor,  # [M] int64
    *,
    k: int = NUM_NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> float:
    """Share of the test features whose class is predicted, in [0, 1]; k is capped at N."""
    k = min(k, len(train))
    predicted = knn_predict(train, train_labels, test, k=k, temperature=temperature)
    return (predicted == test_labels).float().mean().item()


def _first_k(similarities: torch.Tensor, labels: torch.Tensor, k: int) -> Neighbours:
    """Sorted; what stands first stays first among equals, so the order of merges is no matter."""
    order = similarities.sort(dim=1, descending=True, stable=True).indices[:, :k]
    return Neighbours(similarities.gather(1, order), labels.gather(1, order))
