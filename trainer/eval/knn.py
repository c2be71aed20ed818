"""Weighted nearest-neighbour classification of frozen features: no training, no knobs worth tuning.

`online.py` runs it during training and `evaluate.py` after. A neighbour with cosine similarity s
votes with weight exp(s / T); the class with the most votes among the k nearest wins (InstDisc,
arXiv 1805.01978; k = 20, T = 0.07 as in DINO, arXiv 2104.14294). Published numbers depend on k:
print it.

Legend: N training features, M queries, D feature width, K classes.
"""

import torch
from torch.nn import functional as F

from shards.errors import UsageError

NUM_NEIGHBORS = 20
TEMPERATURE = 0.07


def knn_predict(
    train: torch.Tensor,  # [N, D] float - features with known classes
    train_labels: torch.Tensor,  # [N] int64 - classes, any K different numbers
    queries: torch.Tensor,  # [M, D] float
    *,
    k: int = NUM_NEIGHBORS,
    temperature: float = TEMPERATURE,
    chunk: int = 1024,
) -> torch.Tensor:
    """The predicted class of each query, [M] int64; memory is chunk x N, not M x N."""
    if not 1 <= k <= len(train):
        raise UsageError(
            f"k lies between 1 and the number of training features, got {k} for {len(train)}; "
            f"set eval.k or --k to at most {len(train)}"
        )
    train = F.normalize(train.float(), dim=1)
    # Class numbers may be ids of something: votes are for the classes that are there.
    classes, places = train_labels.unique(return_inverse=True)  # [K], [N]
    predictions = []
    for rows in queries.split(chunk):
        similarity = F.normalize(rows.float(), dim=1) @ train.T  # [m, N]
        nearest, index = similarity.topk(k, dim=1)
        votes = torch.zeros(len(rows), len(classes), device=train.device)
        votes.scatter_add_(1, places[index], (nearest / temperature).exp())
        predictions.append(classes[votes.argmax(dim=1)])
    return torch.cat(predictions)


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
