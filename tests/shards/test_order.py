"""The order of samples is a good shuffle, complete in every epoch, and the same for everyone."""

import numpy as np
import pytest
from scipy import stats

from shards.cursor import Cursor
from shards.order import SampleOrder

ODD_SIZES = [*range(1, 71), *(2**k + d for k in (7, 10, 16) for d in (-1, 0, 1)), 1009, 100_003]


def epoch_of(order: SampleOrder, epoch: int) -> np.ndarray:
    """One epoch's ids in their order."""
    start = epoch * order.num_samples
    epochs, ids = order(np.arange(start, start + order.num_samples))
    assert (epochs == epoch).all()
    return ids


@pytest.mark.parametrize("num_samples", ODD_SIZES)
def test_an_epoch_holds_every_sample_once(num_samples: int) -> None:
    """The permutation is one for any size, in several epochs."""
    order = SampleOrder(num_samples, seed=num_samples)
    for epoch in (0, 1, 10**6):
        assert (np.sort(epoch_of(order, epoch)) == np.arange(num_samples)).all()


@pytest.mark.parametrize("window", [1, 2, 7, 1000])
def test_a_windowed_epoch_holds_every_sample_once(window: int) -> None:
    """Also with shards of unequal sizes, some of them empty."""
    sizes = np.random.default_rng(0).integers(0, 40, 60)
    order = SampleOrder(int(sizes.sum()), 1, shard_sizes=sizes.tolist(), window_shards=window)
    epochs = [epoch_of(order, epoch) for epoch in range(3)]
    for ids in epochs:
        assert (np.sort(ids) == np.arange(sizes.sum())).all()
    assert (epochs[0] != epochs[1]).any()
    assert (epochs[1] == epoch_of(order, 1)).all()  # after another epoch was asked for


def test_a_window_keeps_reads_local() -> None:
    """Each stretch of the epoch touches only its window's shards, and mixes them."""
    sizes = [100] * 50
    order = SampleOrder(5000, 3, shard_sizes=sizes, window_shards=5)
    shards = epoch_of(order, 0).reshape(10, 500) // 100
    assert all(len(np.unique(window)) == 5 for window in shards)
    assert (np.diff(shards) != 0).mean() > 0.7  # 0.8 for a perfect shuffle of five shards
    assert not (np.unique(shards[0]) == np.unique(epoch_of(order, 1)[:500] // 100)).all()


def test_samples_travel_far() -> None:
    """The mean displacement is a third of the epoch, as of a uniform permutation."""
    n = 100_003
    for seed in range(3):
        distance = np.abs(epoch_of(SampleOrder(n, seed), 0) - np.arange(n)).mean() / n
        # Standard deviation over uniform permutations: sqrt(2/45 / n) = 0.00067.
        assert distance == pytest.approx(1 / 3, abs=0.003)


def test_neighbours_are_independent() -> None:
    """Pairs of successive ids fill a 20 x 20 table evenly (chi-square); so do their steps."""
    n = 100_000
    for seed in range(3):
        ids = epoch_of(SampleOrder(n, seed), seed)
        bins = ids * 20 // n
        table = np.bincount(bins[:-1] * 20 + bins[1:], minlength=400)
        assert stats.chisquare(table).pvalue > 1e-4
        steps = np.bincount((np.diff(ids) % n) * 20 // n, minlength=20)
        assert stats.chisquare(steps).pvalue > 1e-4


def test_every_small_permutation_occurs() -> None:
    """For four samples all 24 orders come, equally often over seeds and epochs."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(4800 // 16):
        _, ids = SampleOrder(4, seed)(np.arange(4 * 16))
        for row in ids.reshape(16, 4).tolist():
            counts[tuple(row)] = counts.get(tuple(row), 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_epochs_and_seeds_are_unrelated() -> None:
    """Rank correlation and coincidences between any two are those of chance."""
    n = 50_000
    orders = [epoch_of(SampleOrder(n, seed), epoch) for seed in (0, 1, -1) for epoch in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / n**0.5
            assert (a == b).sum() < 10  # Poisson with mean 1


@pytest.mark.parametrize(("num_samples", "batch", "world"), [(37, 8, 4), (101, 6, 3), (5, 12, 2)])
def test_epochs_are_complete_over_batches_and_ranks(
    num_samples: int, batch: int, world: int
) -> None:
    """Batches cross epochs: after any number of them, whole epochs hold each sample once."""
    order = SampleOrder(num_samples, 0)
    cursor, seen = Cursor(), []
    while cursor.position < 4 * num_samples:
        parts = [order(cursor.positions(batch, rank, world)) for rank in range(world)]
        seen += [pair for part in parts for pair in zip(*(a.tolist() for a in part), strict=True)]
        cursor = cursor.advance(batch)
    whole = [pair for pair in seen if pair[0] < 4]
    assert sorted(whole) == [(epoch, i) for epoch in range(4) for i in range(num_samples)]


def test_any_position_can_be_asked_for() -> None:
    """Order, number and shape of the questions do not change the answers."""
    order = SampleOrder(1009, 5)
    positions = np.random.default_rng(0).integers(0, 10**12, 300)
    epochs, ids = order(positions)
    assert (epochs == positions // 1009).all()
    assert [int(order(np.array([p]))[1][0]) for p in positions[:20]] == ids[:20].tolist()
    assert order(np.array([], dtype=np.int64))[1].shape == (0,)


def test_the_order_does_not_change_between_versions() -> None:
    """A run that resumes after an update must meet the same samples."""
    order = SampleOrder(1000, 42)
    assert order(np.arange(996, 1004))[1].tolist() == [697, 345, 959, 647, 65, 25, 762, 38]
    assert order.substitute(np.array([7]), np.array([3]), 1).tolist() == [641]
    windowed = SampleOrder(1000, 42, shard_sizes=[300, 300, 400], window_shards=2)
    assert windowed(np.arange(0, 1000, 125))[1].tolist() == [925, 560, 630, 667, 910, 775, 131, 40]


def test_a_billion_samples_cost_nothing() -> None:
    """Ids of a huge set are in range and distinct."""
    ids = SampleOrder(10**9 + 7, 0)(np.arange(10_000))[1]
    assert len(np.unique(ids)) == 10_000
    assert 0 <= ids.min() < 10**6
    assert ids.max() < 10**9 + 7


@pytest.mark.parametrize("num_samples", [2, 3, 10, 1001])
def test_a_substitute_is_another_sample(num_samples: int) -> None:
    """It is never the bad one, it is the same each time, and the first N-1 attempts all differ."""
    order = SampleOrder(num_samples, 0)
    ids = np.arange(num_samples)
    epochs = np.zeros_like(ids)
    tries = [order.substitute(epochs, ids, k) for k in range(min(num_samples - 1, 20))]
    for replaced in tries:
        assert (replaced != ids).all()
        assert ((replaced >= 0) & (replaced < num_samples)).all()
    assert all(len(set(column)) == len(tries) for column in np.stack(tries, 1).tolist())
    assert (order.substitute(epochs, ids, 0) == tries[0]).all()
    if num_samples > 100:
        assert (order.substitute(epochs + 1, ids, 0) != tries[0]).mean() > 0.9
        assert len(np.unique(tries[0])) > num_samples / 2  # spread, not one neighbour for all


def test_one_sample_has_no_substitute() -> None:
    """With N = 1 there is only itself."""
    order = SampleOrder(1, 0)
    assert order.substitute(np.array([0]), np.array([0]), 3).tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"num_samples": 0}, "1 to"),
        ({"num_samples": 4, "window_shards": 0}, "at least one shard"),
        ({"num_samples": 4, "window_shards": 1}, "add up to 4"),
        (
            {"num_samples": 4, "window_shards": 1, "shard_sizes": [1, 2]},
            "add up to 4 samples, got 3",
        ),
    ],
)
def test_a_wrong_order_is_refused(arguments: dict, reason: str) -> None:
    """The rule and the value are named."""
    with pytest.raises(ValueError, match=reason):
        SampleOrder(seed=0, **arguments)
    with pytest.raises(ValueError, match="got -1"):
        SampleOrder(4, 0)(np.array([3, -1]))


@pytest.mark.parametrize("window", [1, 2, 7, 1000])
def test_the_shards_ahead_are_those_that_come(window: int) -> None:
    """At every position: the rest of its window, all of the next, across the epochs' border."""
    sizes = np.random.default_rng(0).integers(0, 12, 20)
    num_samples = int(sizes.sum())
    order = SampleOrder(num_samples, 1, shard_sizes=sizes.tolist(), window_shards=window)
    shard_of = np.repeat(np.arange(20), sizes)
    num_full = np.count_nonzero(sizes)
    for position in range(2 * num_samples):
        ahead = order.shards_ahead(position)
        assert ahead is not None
        here = ahead[: min(window, num_full)]
        # Of the sample at a position it is the window that is told, and its successor's after it.
        assert shard_of[order(np.array([position]))[1][0]] in here
        end = position + 1
        while np.array_equal(order.shards_ahead(end), ahead):
            end += 1
        ids = order(np.arange(position, end))[1]
        assert set(shard_of[ids]) <= set(ahead[: len(ahead) - len(later(order, end))])
        assert np.array_equal(later(order, end), ahead[len(ahead) - len(later(order, end)) :])


def later(order: SampleOrder, position: int) -> np.ndarray:
    """The shards of the window that begins at a position."""
    return order._window_of(position)[0]


def test_without_windows_any_shard_may_come() -> None:
    """So nothing is said."""
    assert SampleOrder(9, 0).shards_ahead(3) is None
