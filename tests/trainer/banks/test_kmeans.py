"""Spherical k-means against loops, in parts of any size, with clusters that stay empty."""

import pytest
import torch

from trainer.banks.kmeans import spherical_kmeans


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x / x.norm(dim=-1, keepdim=True)


def naive(
    rows: torch.Tensor, centroids: torch.Tensor, iterations: int
) -> tuple[torch.Tensor, list[int]]:
    centroids = centroids.clone()
    for iteration in range(iterations + 1):
        labels = [
            max(range(len(centroids)), key=lambda k: float(row @ centroids[k])) for row in rows
        ]
        if iteration == iterations:
            break
        for k in range(len(centroids)):
            members = [row for row, label in zip(rows, labels, strict=True) if label == k]
            if members:
                total = torch.stack(members).sum(0)
                centroids[k] = total / total.norm()
    return centroids, labels


@pytest.mark.parametrize("max_scores", [1, 30, 1 << 20])
@pytest.mark.parametrize("iterations", [0, 1, 10])
def test_equals_the_loops(iterations: int, max_scores: int) -> None:
    """Centroids and labels are those of the loops, whatever the size of the parts."""
    rows, first = unit(53, 4), unit(7, 4, seed=1)
    before = first.clone()
    centroids, labels = spherical_kmeans(rows, first, iterations=iterations, max_scores=max_scores)
    expected, expected_labels = naive(rows, first, iterations)
    torch.testing.assert_close(centroids, expected)
    assert labels.tolist() == expected_labels
    assert torch.equal(first, before)


def test_an_empty_cluster_keeps_its_centroid() -> None:
    """A centroid that is nearest to no row, and one whose rows cancel, stay where they are."""
    rows = torch.tensor([[1.0, 0, 0], [0.9, 0.1, 0], [0, 1.0, 0], [0, -1.0, 0]])
    rows = rows / rows.norm(dim=1, keepdim=True)
    first = torch.tensor([[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 1.0]])
    centroids, labels = spherical_kmeans(rows, first, iterations=1)
    assert torch.equal(centroids[1:], first[1:])
    assert labels.tolist()[:2] == [0, 0]
    cancelling = torch.tensor([[0, 1.0, 0], [0, -1.0, 0]])
    centroids, _ = spherical_kmeans(cancelling, first, iterations=3)
    assert torch.equal(centroids, first)


def test_duplicates_and_zero_rows() -> None:
    """As many clusters as rows, all rows alike: one cluster; rows of zeros pull nothing."""
    row = unit(1, 5)
    centroids, labels = spherical_kmeans(row.expand(6, 5), row.expand(6, 5))
    assert labels.tolist() == [0] * 6
    torch.testing.assert_close(centroids, row.expand(6, 5))
    rows, first = unit(20, 5), unit(3, 5, seed=1)
    with_zeros, labels = spherical_kmeans(torch.cat([rows, torch.zeros(4, 5).double()]), first)
    torch.testing.assert_close(with_zeros, spherical_kmeans(rows, first)[0])
    assert len(labels) == 24


def test_it_finds_what_is_there() -> None:
    """Three tight bundles of rows are told apart, and each centroid lies in its bundle."""
    directions = torch.eye(3, 8, dtype=torch.float64)
    rows = directions.repeat(10, 1) + 0.05 * unit(30, 8)
    rows = rows / rows.norm(dim=1, keepdim=True)
    centroids, labels = spherical_kmeans(rows, rows[[0, 1, 2]])
    assert labels.tolist() == [0, 1, 2] * 10
    assert (centroids * directions).sum(1).min() > 0.99


def test_autocast_does_not_blur_it() -> None:
    """Inside a bf16 autocast the result is the float32 one, bit for bit."""
    rows, first = unit(300, 16).float(), unit(20, 16, seed=1).float()
    plain = spherical_kmeans(rows, first)
    with torch.autocast("cpu", torch.bfloat16):
        inside = spherical_kmeans(rows, first)
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))
