"""Philox against its published answers, and the properties the plan relies on."""

import numpy as np
import pytest
from scipy import stats

from augengine import rng
from shards.errors import UsageError

# Random123's kat_vectors: counter, key, output of philox4x32 with 10 rounds.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


def philox_of(counter: list[int], key: list[int]) -> list[int]:
    words = rng.philox(tuple(np.array([word], np.uint64) for word in counter), (key[0], key[1]))
    return [int(word[0]) for word in words]


def numbers(seed: int = 0, epoch: int = 0, id: int = 0, view: int = 0, field: int = 0, n: int = 4):
    return rng.uniforms(seed, np.array([epoch]), np.array([id]), np.array([view]), field, n)[0, 0]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    """The three published vectors come out to the bit."""
    counter_words, key_words = ([int(w, 16) for w in text.split()] for text in (counter, key))
    assert philox_of(counter_words, key_words) == [int(w, 16) for w in answer.split()]


def test_the_counter_is_laid_out_as_documented() -> None:
    """Id, epoch, view, field and block sit in the bits that rng.py and docs/plan.md name."""
    seed, id, epoch, view, field = (7 << 32) + 5, (3 << 32) + 2, 11, 13, 17
    for block in (0, 1):
        counter = [2, 3, 11, (view << 20) | (field << 12) | block]
        expected = np.array(philox_of(counter, [5, 7])) / 2**32
        drawn = numbers(seed, epoch, id, view, field, 8)[4 * block : 4 * block + 4]
        np.testing.assert_array_equal(drawn, expected)


def test_extreme_keys_work_and_differ() -> None:
    """Seeds to 2^64, ids to 2^63 and epochs to 2^31 are all distinct purposes."""
    purposes = [
        {}, {"seed": 1}, {"seed": 1 << 32}, {"seed": (1 << 64) - 1}, {"epoch": 1},
        {"epoch": (1 << 31) - 1}, {"id": 1}, {"id": 1 << 32}, {"id": (1 << 63) - 1}, {"view": 1},
        {"view": 4095}, {"field": 1}, {"field": 255},
    ]  # fmt: skip
    assert len({tuple(numbers(**purpose)) for purpose in purposes}) == len(purposes)


def test_fields_drawn_together_are_those_drawn_alone() -> None:
    """One pass over many fields gives each what a call of its own gives, to the bit."""
    ids, epochs, views = np.arange(20) * 31, np.arange(20) % 3, np.array([0, 1, 64])
    counts = {3: 6, 0: 20, 255: 1, 7: 4}
    together = rng.uniform_fields(5, epochs, ids, views, counts)
    assert list(together) == list(counts)
    for field, count in counts.items():
        alone = rng.uniforms(5, epochs, ids, views, field, count)
        assert alone.shape == (20, 3, count)
        np.testing.assert_array_equal(together[field], alone)
        expected = numbers(5, id=31, epoch=1, view=64, field=field, n=count)
        np.testing.assert_array_equal(together[field][1, 2], expected)


def test_a_part_is_part_of_the_whole() -> None:
    """Fewer numbers, views or images, in any order, are the same numbers."""
    ids, epochs, views = np.arange(50) * 977, np.arange(50) % 3, np.array([0, 1, 64, 65])
    whole = rng.uniforms(9, epochs, ids, views, 3, 11)
    assert whole.shape == (50, 4, 11)
    rows = np.random.default_rng(0).permutation(50)[:8]
    part = rng.uniforms(9, epochs[rows], ids[rows], views[[2, 0]], 3, 5)
    np.testing.assert_array_equal(part, whole[rows][:, [2, 0], :5])
    assert rng.uniforms(9, epochs[:0], ids[:0], views, 3, 5).shape == (0, 4, 5)


def test_numbers_are_uniform_and_uncorrelated() -> None:
    """4e5 numbers over consecutive ids, views and words: uniform, and neighbours unrelated."""
    drawn = rng.uniforms(1, np.zeros(10_000), np.arange(10_000), np.arange(5), 2, 8)
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert stats.kstest(drawn.ravel(), "uniform").pvalue > 1e-4
    columns = drawn.reshape(10_000, -1)
    correlations = np.corrcoef(columns, rowvar=False)[np.triu_indices(columns.shape[1], 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(columns))
    assert abs(np.corrcoef(columns[1:, 0], columns[:-1, 0])[0, 1]) < 0.05


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_has_64_bits(seed: int) -> None:
    """A seed that would be cut is refused by name."""
    with pytest.raises(UsageError, match=f"a seed is an integer from 0 to 2.64 - 1, got {seed}"):
        numbers(seed=seed)


@pytest.mark.parametrize(
    ("purpose", "name"),
    [({"epoch": -1}, "epochs"), ({"id": -1}, "sample ids"), ({"view": 4096}, "view keys"),
     ({"field": 256}, "field")],
)  # fmt: skip
def test_nothing_spills_into_another_purpose(purpose: dict[str, int], name: str) -> None:
    """A number beyond its bits of the counter is an error, never another purpose's number."""
    with pytest.raises(ValueError, match=name):
        numbers(**purpose)
