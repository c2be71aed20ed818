"""The collapse monitor: two known numbers, and words when, and only when, they go wrong."""

import math

import pytest
import torch

from trainer.watch.monitor import CollapseMonitor, effective_rank, embedding_std


def healthy(n: int = 256, d: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def collapsed(n: int = 256, d: int = 64) -> torch.Tensor:
    return torch.ones(n, d) + 0.01 * healthy(n, d)


def test_std_is_one_on_a_sphere_and_zero_in_a_point() -> None:
    """Uniform directions give about 1, equal embeddings 0, whatever their length."""
    assert embedding_std(healthy(4096)) == pytest.approx(1, abs=0.02)
    assert embedding_std(1000 * healthy(4096)) == pytest.approx(1, abs=0.02)
    assert embedding_std(torch.ones(10, 8) * torch.arange(1, 11)[:, None]) < 1e-3


@pytest.mark.parametrize("rank", [1, 3, 16])
def test_effective_rank_counts_equal_dimensions(rank: int) -> None:
    """Embeddings spread evenly over r orthogonal directions have rank r, tall or wide."""
    rows = torch.eye(16)[torch.arange(rank).repeat(10)]
    assert effective_rank(rows) == pytest.approx(rank, rel=1e-4)
    assert effective_rank(rows[:rank]) == pytest.approx(rank, rel=1e-4)


def test_effective_rank_equals_its_definition() -> None:
    """exp of the entropy of the singular values' shares, as numpy's SVD gives them."""
    unit = torch.nn.functional.normalize(healthy(100, 30).double(), dim=1)
    values = torch.linalg.svdvals(unit)
    share = values / values.sum()
    expected = math.exp(-(share * share.log()).sum())
    assert effective_rank(healthy(100, 30)) == pytest.approx(expected, rel=1e-6)


def test_a_collapse_is_said_once_an_onset() -> None:
    """Silent while healthy; one warning after `patience` bad checks; another after recovery."""
    monitor = CollapseMonitor(capacity=256, patience=3)
    said = []
    for embeddings in [healthy()] * 4 + [collapsed()] * 6 + [healthy()] * 2 + [collapsed()] * 4:
        monitor.update(embeddings)
        said.append(monitor.check().warning is not None)
    assert [i for i, warned in enumerate(said) if warned] == [6, 14]


def test_the_warning_teaches() -> None:
    """It says what it is, the numbers, likely causes and what to try."""
    monitor = CollapseMonitor(patience=1)
    monitor.update(collapsed())
    warning = monitor.check().warning
    assert warning is not None
    for word in ("collapsing", "same embedding", "std 0.0", "learning rate", "--batch-size"):
        assert word in warning


def test_few_dimensions_are_a_collapse_too() -> None:
    """Embeddings on a line have a fine std but rank 1."""
    line = torch.outer(torch.tensor([1.0, -1.0]).repeat(128), torch.ones(64))
    monitor = CollapseMonitor(patience=1)
    monitor.update(line)
    health = monitor.check()
    assert health.std > 0.9
    assert health.warning is not None
    assert "few of their dimensions" in health.warning


def test_the_sample_is_the_latest() -> None:
    """Only the last `capacity` embeddings count, over as many batches as it takes."""
    monitor = CollapseMonitor(capacity=100)
    monitor.update(collapsed(1000))
    for seed in range(4):
        monitor.update(healthy(30, seed=seed))
    assert monitor.check().std > 0.9


def test_not_a_number_is_bad_news_not_a_crash() -> None:
    """Embeddings that are not finite count as a collapse."""
    monitor = CollapseMonitor(patience=1)
    monitor.update(torch.full((8, 4), math.nan))
    assert monitor.check().warning is not None
