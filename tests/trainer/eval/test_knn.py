"""Weighted kNN equals a brute-force loop written from the paper's sentence."""

import math

import pytest
import torch

from shards.errors import UsageError
from trainer.eval.knn import knn_accuracy, knn_predict


def blobs(n: int, num_classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(num_classes, 8, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(num_classes, (n,), generator=generator)
    return centers[labels] + 1.5 * torch.randn(n, 8, generator=generator), labels


def brute_force(
    train: torch.Tensor, labels: torch.Tensor, query: torch.Tensor, k: int, temperature: float
) -> int:
    """One query at a time, in float64, with plain Python sums."""
    scores = []
    for row, label in zip(train.double(), labels.tolist(), strict=True):
        cosine = float(row @ query.double() / (row.norm() * query.double().norm()))
        scores.append((cosine, label))
    votes: dict[int, float] = {}
    for cosine, label in sorted(scores, reverse=True)[:k]:
        votes[label] = votes.get(label, 0.0) + math.exp(cosine / temperature)
    return max(votes, key=lambda label: votes[label])


@pytest.mark.parametrize("k", [1, 5, 20, 150])
@pytest.mark.parametrize("temperature", [0.07, 100.0])
def test_equals_the_brute_force_loop(k: int, temperature: float) -> None:
    """The same class for every query: nearest neighbour, weighted, and almost a majority vote."""
    train, labels = blobs(150, 5, seed=0)
    queries, _ = blobs(60, 5, seed=1)
    predicted = knn_predict(train, labels, queries, k=k, temperature=temperature, chunk=7)
    expected = [brute_force(train, labels, query, k, temperature) for query in queries]
    assert predicted.tolist() == expected


def test_chunks_do_not_matter() -> None:
    """The size of a chunk, odd or larger than the queries, changes no prediction."""
    train, labels = blobs(100, 3, seed=2)
    queries, _ = blobs(33, 3, seed=3)
    whole = knn_predict(train, labels, queries, chunk=1000)
    assert torch.equal(knn_predict(train, labels, queries, chunk=4), whole)


def test_scale_does_not_matter() -> None:
    """Cosine similarity: features a million times longer give the same answer."""
    train, labels = blobs(100, 3, seed=4)
    queries, _ = blobs(20, 3, seed=5)
    assert torch.equal(
        knn_predict(1e6 * train, labels, queries), knn_predict(train, labels, queries)
    )


def test_accuracy_of_the_training_set_itself_is_one() -> None:
    """With k = 1 every training feature finds itself; k is capped at the set's size."""
    train, labels = blobs(50, 4, seed=6)
    assert knn_accuracy(train, labels, train, labels, k=1) == 1
    assert 0 <= knn_accuracy(train, labels, train, labels, k=10_000) <= 1


@pytest.mark.parametrize("k", [0, 11])
def test_k_must_fit(k: int) -> None:
    """A k below 1 or above the training set is refused with both numbers."""
    train, labels = blobs(10, 2, seed=7)
    with pytest.raises(UsageError, match=f"got {k} for 10"):
        knn_predict(train, labels, train, k=k)


def test_classes_may_have_any_numbers() -> None:
    """Ids of something, with gaps of billions: votes cost the classes that are there."""
    train, labels = blobs(60, 3, seed=8)
    queries, _ = blobs(20, 3, seed=9)
    ids = torch.tensor([7, 90, 2_000_000_000])
    found = knn_predict(train, ids[labels], queries)
    assert torch.equal(found, ids[knn_predict(train, labels, queries)])
