"""The order of a mixture: exact shares, every sample equally often, a function of the position."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from shards.cursor import Cursor
from shards.mixture.mixed_order import MixedOrder
from shards.order import SampleOrder, seed_of_set

SIZES = (37, 50, 8)


def order_of(
    quotas: Sequence[int],
    sizes: Sequence[int] = SIZES,
    seed: int = 3,
    former: Sequence[tuple[int, Sequence[int]]] = (),
    window: int | None = None,
) -> MixedOrder:
    """Sets of these sizes, each in shards of five samples or fewer."""
    shards = [[min(5, size - first) for first in range(0, size, 5)] for size in sizes]
    orders = [
        SampleOrder(
            size, seed_of_set(seed, number), shard_sizes=shards[number], window_shards=window
        )
        for number, size in enumerate(sizes)
    ]
    num_shards = [len(own) for own in shards]
    return MixedOrder(orders, quotas, num_shards=num_shards, former=former)


def set_of(ids: np.ndarray, sizes: Sequence[int] = SIZES) -> np.ndarray:
    """The set that each id belongs to."""
    return np.searchsorted(np.cumsum(sizes), ids, side="right")


def some_quotas() -> list[tuple[int, int, int]]:
    rng = np.random.default_rng(5)
    return [tuple(rng.integers(1, 3 * np.array(SIZES)).tolist()) for _ in range(60)]


@pytest.mark.parametrize("window", [None, 2])
def test_counts_are_exact_whatever_the_shares(window: int | None) -> None:
    """After any number of positions `counts` is what came, and no sample is one ahead of another.

    Each epoch holds every set's quota, and every (pass, sample) comes once.
    """
    for quotas in some_quotas()[: 60 if window is None else 10]:
        order, total = order_of(quotas, window=window), sum(quotas)
        epochs, ids = order(np.arange(6 * total))
        for start in range(0, 6 * total, total):
            sets = set_of(ids[start : start + total])
            assert np.bincount(sets, minlength=3).tolist() == list(quotas)
        pairs = set(zip(epochs.tolist(), ids.tolist(), strict=True))
        assert len(pairs) == 6 * total
        for position in np.random.default_rng(1).integers(0, 6 * total, 12).tolist():
            came = np.bincount(ids[:position], minlength=sum(SIZES))
            for number, (first, size) in enumerate(zip((0, 37, 87), SIZES, strict=True)):
                own, count = came[first : first + size], order.counts(position)[number]
                assert own.sum() == count
                assert own.min() == count // size
                assert own.max() == -(-count // size)


def test_weight_one_is_every_sample_once_an_epoch() -> None:
    """And weight two each of them twice, in any mixture."""
    order = order_of((37, 15, 16))
    for epoch in range(3):
        ids = order(np.arange(68 * epoch, 68 * (epoch + 1)))[1]
        came = np.bincount(ids, minlength=95)
        assert (came[:37] == 1).all()
        assert (came[87:] == 2).all()
        assert came[37:87].sum() == 15


def test_a_batch_holds_its_share_too() -> None:
    """Any 40 positions hold as many of a set as its share says, give or take two."""
    order = order_of((37, 15, 8))
    sets = set_of(order(np.arange(600))[1])
    for start in range(560):
        found = np.bincount(sets[start : start + 40], minlength=3)
        assert (np.abs(found - 40 * np.array([37, 15, 8]) / 60) <= 2).all()


def test_sets_of_one_size_have_orders_of_their_own() -> None:
    """Their permutations are unrelated, and each is a good one (rank correlation)."""
    n = 20_000
    order = order_of((n, n), (n, n))
    ids = order(np.arange(2 * n))[1]
    first, second = ids[ids < n], ids[ids >= n] - n
    assert (np.sort(second) == np.arange(n)).all()
    for pair in ((first, second), (first, np.arange(n)), (second, np.arange(n))):
        assert abs(stats.spearmanr(*pair).statistic) < 4.5 / n**0.5


def test_ranks_share_the_stream_and_any_position_can_be_asked_for() -> None:
    """Two, three or one rank: the same samples, each once, from any position on."""
    order = order_of((37, 15, 8))
    whole = order(np.arange(600))
    for world, batch in ((1, 12), (2, 12), (3, 12)):
        cursor, ids = Cursor(36), []
        while cursor.position < 588:
            ids += [order(cursor.positions(batch, r, world))[1] for r in range(world)]
            cursor = cursor.advance(batch)
        assert np.concatenate(ids).tolist() == whole[1][36:588].tolist()
    some = np.random.default_rng(0).integers(0, 10**10, 50)
    alone = [order(np.array([position])) for position in some]
    assert order(some)[1].tolist() == [int(ids[0]) for _, ids in alone]


@pytest.mark.parametrize("at", [0, 1, 59, 60, 61, 130, 251])
def test_other_shares_from_a_position_on_repeat_and_skip_nothing(at: int) -> None:
    """The stream before is the former one; after it every set goes on in its own pass."""
    old, new = (37, 15, 8), (20, 50, 24)
    before = order_of(old)(np.arange(at))
    changed = order_of(new, former=[(at, old)])
    epochs, ids = changed(np.arange(at + 10 * 94))
    assert ids[:at].tolist() == before[1].tolist()
    assert len(set(zip(epochs.tolist(), ids.tolist(), strict=True))) == len(ids)
    for start in range(at, at + 10 * 94, 94):
        assert np.bincount(set_of(ids[start : start + 94])).tolist() == list(new)
    came = np.bincount(ids, minlength=95)
    for first, size in ((0, 37), (37, 50), (87, 8)):
        assert np.ptp(came[first : first + size]) <= 1


def test_shares_may_change_again_and_again() -> None:
    """Also twice at one position, where the last word counts."""
    former = [(10, (37, 15, 8)), (10, (1, 1, 1)), (75, (2, 3, 4))]
    order = order_of((5, 5, 5), former=former)
    epochs, ids = order(np.arange(600))
    assert len(set(zip(epochs.tolist(), ids.tolist(), strict=True))) == 600
    assert np.bincount(set_of(ids[10:73])).tolist() == [14, 21, 28]
    assert np.bincount(set_of(ids[75:90])).tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match="positions that go on"):
        order_of((5, 5, 5), former=[(10, (1, 1, 1)), (9, (1, 1, 1))])


def test_a_substitute_is_of_the_same_set() -> None:
    """Another sample of it, as its own order says."""
    order, ids = order_of((37, 15, 8)), np.arange(95)
    for attempt in range(3):
        found = order.substitute(np.zeros_like(ids), ids, attempt)
        assert (set_of(found) == set_of(ids)).all()
        assert (found != ids).all()


def test_the_shards_ahead_are_those_of_every_set() -> None:
    """At any position they hold what comes next, until the first set needs another window."""
    order = order_of((37, 15, 8), window=2)
    starts = np.concatenate([[0], np.cumsum([5] * 7 + [2] + [5] * 10 + [5, 3])])
    for position in range(300):
        ahead = order.shards_ahead(position)
        assert ahead is not None
        ids = order(np.arange(position, position + 8))[1]
        assert set(np.searchsorted(starts, ids, side="right") - 1) <= set(ahead.tolist())
    assert order_of((37, 15, 8)).shards_ahead(5) is None


def test_the_order_of_a_mixture_does_not_change_between_versions() -> None:
    """A run that resumes after an update must meet the same samples."""
    epochs, ids = order_of((37, 15, 8), seed=42)(np.arange(56, 68))
    assert epochs.tolist() == [0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 0, 1]
    assert ids.tolist() == [94, 25, 53, 34, 30, 58, 29, 91, 18, 36, 76, 24]
