"""The order of samples: a pure function of the seed and the position, never a shuffled list.

Position p of the endless stream (`cursor.py`) lies in epoch p // N; the epoch's permutation maps
p % N to a sample id. Because it is computed and not stored, a billion samples cost nothing, every
rank and every resumed run agrees, and any position can be asked for first.

The permutation is a Feistel network over a grid a x b just larger than N (Black and Rogaway,
"Ciphers with Arbitrary Finite Domains", CT-RSA 2002): what falls outside N is permuted again, until
inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Even, so that both halves are mixed alike. Four are proven to be enough for ideal round functions;
# the rest makes up for small grids.
_ROUNDS = 8
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ROUND_KEYS = np.arange(1, _ROUNDS + 1, dtype=np.uint64) * _GOLDEN
_MAX_SAMPLES = 1 << 48
_SHARDS, _SAMPLES, _SUBSTITUTES, _SETS = range(4)  # what a key is for


class SampleOrder:
    """The order of all epochs: true global shuffling, or shuffling inside windows of shards.

    With windows, each epoch permutes the shards, cuts that list into windows, and permutes the
    samples of a window among themselves: reads stay local to a few tars at a time.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int,
        *,
        shard_sizes: Sequence[int] | None = None,
        window_shards: int | None = None,
    ) -> None:
        """Describe the order; nothing is computed yet.

        Args:
            num_samples: N, ids are 0 to N-1.
            seed: any integer; another seed is another order.
            shard_sizes: samples of each shard, in the order of ids; needed with a window.
            window_shards: shards that are shuffled together; None shuffles everything together.

        Raises:
            ValueError: a number out of range, or shard sizes that do not add up.
        """
        if not 1 <= num_samples <= _MAX_SAMPLES:
            raise ValueError(f"an order needs 1 to 2**48 samples, got {num_samples}")
        if window_shards is not None:
            if window_shards < 1:
                raise ValueError(f"a window has at least one shard, got {window_shards}")
            if shard_sizes is None or sum(shard_sizes) != num_samples or min(shard_sizes) < 0:
                raise ValueError(
                    f"a window needs shard sizes that add up to {num_samples} samples, got "
                    f"{None if shard_sizes is None else sum(shard_sizes)}"
                )
        self.num_samples = num_samples
        self.seed = seed
        self.window_shards = window_shards
        self._shard_sizes = np.asarray([] if window_shards is None else shard_sizes, np.int64)
        self._layouts: tuple[_Layout, ...] = ()  # of the last two epochs asked for

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Epochs [B] and sample ids [B], both int64, of positions [B] >= 0 in the stream."""
        positions = np.asarray(positions, dtype=np.int64)
        if positions.size and positions.min() < 0:
            raise ValueError(f"positions must be >= 0, got {positions.min()}")
        epochs, indices = np.divmod(positions, self.num_samples)
        if self.window_shards is None:
            keys = _keys(self.seed, _SAMPLES, epochs)
            return epochs, permute(indices, self.num_samples, keys)
        ids = np.empty_like(indices)
        for epoch in np.unique(epochs):
            now = epochs == epoch
            ids[now] = self._windowed(int(epoch), indices[now])
        return epochs, ids

    def shards_ahead(self, position: int) -> np.ndarray | None:
        """Shards that the samples from a position on come from: its window's, then the next one's.

        None without windows: any may come.
        """
        if self.window_shards is None:
            return None
        here, end = self._window_of(position)
        return np.concatenate([here, self._window_of(end)[0]])

    def substitute(self, epochs: np.ndarray, ids: np.ndarray, attempt: int) -> np.ndarray:
        """Other samples to use for bad ones.

        Args:
            epochs: [B] the epochs in which they came.
            ids: [B] the bad samples.
            attempt: 0 first, 1 when that one is bad too, ...

        Returns:
            [B] int64 ids, each unlike the bad one when N > 1; the first N-1 attempts all differ.
        """
        if attempt < 0:
            raise ValueError(f"attempts count from 0, got {attempt}")
        ids = np.asarray(ids, dtype=np.int64)
        others = self.num_samples - 1
        if others == 0:
            return ids.copy()
        keys = _keys(self.seed, _SUBSTITUTES, np.asarray(epochs), ids)
        step = permute(np.full_like(ids, attempt % others), others, keys)
        return (ids + 1 + step) % self.num_samples

    def _windowed(self, epoch: int, indices: np.ndarray) -> np.ndarray:
        layout = self._laid_out(epoch)
        window = np.searchsorted(layout.window_starts, indices, side="right") - 1
        start = layout.window_starts[window]
        size = layout.window_starts[window + 1] - start
        keys = _keys(self.seed, _SAMPLES, np.full_like(indices, epoch), window)
        place = start + permute(indices - start, size, keys)
        turn = np.searchsorted(layout.shard_starts, place, side="right") - 1
        return layout.first_ids[turn] + place - layout.shard_starts[turn]

    def _window_of(self, position: int) -> tuple[np.ndarray, int]:
        """Shards of the window at a position, and the position of the next one."""
        epoch, index = divmod(position, self.num_samples)
        layout = self._laid_out(epoch)
        window = int(np.searchsorted(layout.window_starts, index, side="right")) - 1
        first = window * (self.window_shards or 0)
        end = epoch * self.num_samples + int(layout.window_starts[window + 1])
        return layout.shards[first : first + (self.window_shards or 0)], end

    def _laid_out(self, epoch: int) -> "_Layout":
        layouts = self._layouts
        for layout in layouts:
            if layout.epoch == epoch:
                return layout
        layout = self._lay_out(epoch)
        # One assignment, so that threads at an epoch's border at worst compute it twice.
        self._layouts = (*layouts[-1:], layout)
        return layout

    def _lay_out(self, epoch: int) -> "_Layout":
        num_shards = len(self._shard_sizes)
        keys = _keys(self.seed, _SHARDS, np.full(num_shards, epoch))
        shards = permute(np.arange(num_shards), num_shards, keys)
        # Empty shards have no place, and would make equal starts.
        shards = shards[self._shard_sizes[shards] > 0]
        starts = np.concatenate([[0], np.cumsum(self._shard_sizes[shards])])
        first_ids = (np.cumsum(self._shard_sizes) - self._shard_sizes)[shards]
        window_starts = np.append(starts[: -1 : self.window_shards], starts[-1])
        return _Layout(epoch, shards, starts[:-1], first_ids, window_starts)


@dataclass(frozen=True, slots=True)
class _Layout:
    """One epoch's shards in their order, laid end to end; S shards, W windows."""

    epoch: int
    shards: np.ndarray  # [S] int64
    shard_starts: np.ndarray  # [S] int64 - place of each shard's first sample
    first_ids: np.ndarray  # [S] int64 - its id
    window_starts: np.ndarray  # [W + 1] int64 - place of each window's first sample, and N


def seed_of_set(seed: int, number: int) -> int:
    """The seed of one set of several: sets of one size would otherwise have one order."""
    return int(_keys(seed, _SETS, np.array([number]))[0])


def permute(indices: np.ndarray, sizes: np.ndarray | int, keys: np.ndarray) -> np.ndarray:
    """Apply a keyed permutation of [0, size) to each index.

    Args:
        indices: [B] int64, each in [0, size).
        sizes: the size, or [B] of them.
        keys: [B] uint64; equal keys and sizes are the same permutation.

    Returns:
        [B] int64, each in [0, size).
    """
    sizes = np.broadcast_to(np.asarray(sizes, dtype=np.uint64), indices.shape)
    result = _permute_grid(indices.astype(np.uint64), sizes, keys)
    # A few in sqrt(N) fall outside; walking their cycle leads back inside.
    outside = np.flatnonzero(result >= sizes)
    while outside.size:
        again = _permute_grid(result[outside], sizes[outside], keys[outside])
        result[outside] = again
        outside = outside[again >= sizes[outside]]
    return result.astype(np.int64)


def _permute_grid(x: np.ndarray, sizes: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A bijection of [0, rows * columns), the grid that `_grid` gives for the size."""
    rows, columns = _grid(sizes)
    left, right = x // columns, x % columns
    for number, round_key in enumerate(_ROUND_KEYS):
        if number % 2:
            right = _add_below(right, _mix(left ^ (keys + round_key)), columns)
        else:
            left = _add_below(left, _mix(right ^ (keys + round_key)), rows)
    return left * columns + right


def _grid(sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Exact for sizes up to 2**48, whose roots are far from where float64 rounds.
    columns = np.ceil(np.sqrt(sizes.astype(np.float64))).astype(np.uint64)
    return (sizes + columns - np.uint64(1)) // columns, columns


def _add_below(x: np.ndarray, random: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """(x + a number in [0, bound) from 32 random bits) modulo bound, which is under 2**32."""
    x = x + (((random >> np.uint64(32)) * bound) >> np.uint64(32))
    return np.where(x >= bound, x - bound, x)


def _keys(seed: int, purpose: int, *parts: np.ndarray) -> np.ndarray:
    """[B] uint64 keys from the seed, what they are for, and arrays [B] of numbers."""
    key = np.full(parts[0].shape, seed & 0xFFFF_FFFF_FFFF_FFFF, dtype=np.uint64)
    for part in (np.uint64(purpose), *(part.astype(np.uint64) for part in parts)):
        key = _mix(key + _GOLDEN) ^ part
    return _mix(key + _GOLDEN)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): each bit depends on every bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
