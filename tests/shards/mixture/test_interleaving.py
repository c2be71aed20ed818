"""Every set has its turns in an epoch, each once, and every stretch is in proportion."""

import numpy as np
import pytest

from shards.mixture.interleaving import Interleaving


def some_quotas(number: int) -> list[list[int]]:
    """One to seven sets of one to 400 turns, some of them equal, some with a single turn."""
    rng = np.random.default_rng(0)
    return [
        np.where(rng.random(size) < 0.3, rng.integers(1, 4, size), rng.integers(1, 400, size))
        .astype(int)
        .tolist()
        for size in rng.integers(1, 8, number).tolist()
    ]


QUOTAS = [[1], [1, 1], [5, 5, 5], [1, 1000], [37, 11], [7, 7, 1], *some_quotas(150)]


def test_every_turn_of_every_set_has_one_place() -> None:
    """The turns of a set come in their order, and the counts are those of the places before."""
    for quotas in QUOTAS:
        shares = Interleaving(quotas)
        places = np.arange(shares.total + 1)
        sets, turns = shares(places[:-1])
        counts = shares.counts(places)
        for number, quota in enumerate(quotas):
            its = sets == number
            assert turns[its].tolist() == list(range(quota)), quotas
            assert counts[number].tolist() == [0, *np.cumsum(its)], quotas


def test_no_set_is_ever_far_from_its_share() -> None:
    """Within 1/2 + S q / 2E turns after any number of places; of two sets within 1/2."""
    for quotas in QUOTAS:
        shares = Interleaving(quotas)
        places = np.arange(shares.total + 1)
        for number, quota in enumerate(quotas):
            away = np.abs(shares.counts(places)[number] - places * quota / shares.total).max()
            bound = 0.5 if len(quotas) <= 2 else 0.5 + len(quotas) * quota / (2 * shares.total)
            assert away <= bound + 1e-9, quotas


def test_two_equal_sets_take_turns() -> None:
    """The first one begins."""
    sets, turns = Interleaving([3, 3])(np.arange(6))
    assert sets.tolist() == [0, 1, 0, 1, 0, 1]
    assert turns.tolist() == [0, 0, 1, 1, 2, 2]


def test_any_place_can_be_asked_for() -> None:
    """Number and order of the questions change no answer."""
    shares = Interleaving([1000, 301, 17])
    sets, turns = shares(np.arange(shares.total))
    some = np.random.default_rng(1).permutation(shares.total)[:200]
    found = shares(some)
    assert (found[0] == sets[some]).all()
    assert (found[1] == turns[some]).all()
    assert shares(np.array([], np.int64))[0].shape == (0,)


def test_billions_are_exact() -> None:
    """Past what int64 holds the same numbers come: a long epoch is a short one, a million times."""
    small, times = Interleaving([30, 7, 3]), 10**9
    large = Interleaving([30 * times, 7 * times, 3 * times])
    assert large.total > 2_000_000_000  # where Python's integers count
    places = np.array([0, 1, 12_345_678_901, large.total - 1])
    sets, turns = large(places)
    counts = large.counts(np.append(places, large.total))
    for row, (number, turn) in enumerate(zip(sets.tolist(), turns.tolist(), strict=True)):
        assert counts[number, row] == turn
    assert counts.sum(axis=0).tolist() == [*places.tolist(), large.total]
    assert counts[:, -1].tolist() == list(large.quotas)
    assert small(np.arange(40))[0].tolist() == Interleaving([30, 7, 3])(np.arange(40))[0].tolist()


@pytest.mark.parametrize("quotas", [[], [3, 0], [-1]])
def test_a_set_without_a_turn_is_refused(quotas: list[int]) -> None:
    """The rule and the value are named."""
    with pytest.raises(ValueError, match="at least one turn"):
        Interleaving(quotas)
